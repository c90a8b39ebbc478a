#!/bin/sh
# Install Chromium for the browser test, where it is missing: Debian's package, by apt-get.
# Ends with 0 where that cannot be done, too: the test then says why it is skipped.
set -eu

if command -v chromium >/dev/null 2>&1; then
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
  echo "js/test: chromium is not installed, and only root can install it with apt-get"
  exit 0
fi
echo "js/test: installing chromium with apt-get"
log="$(cd "$(dirname "$0")/../.." && pwd)/build/chromium-apt-get.log"
mkdir -p "$(dirname "$log")"
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } \
  >"$log" 2>&1 || echo "js/test: apt-get could not install chromium (see $log)"
