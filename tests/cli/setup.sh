#!/bin/sh
# Install zsh and fish for the tests of completion, where they are missing: Debian's packages, by apt-get.
# Ends with 0 where that cannot be done, too: the tests then say why they are skipped.
set -eu

missing=""
for shell in zsh fish; do
  command -v "$shell" >/dev/null 2>&1 || missing="$missing $shell"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
  echo "tests/cli: not installed, and only root can install it with apt-get:$missing"
  exit 0
fi
echo "tests/cli: installing with apt-get:$missing"
log="$(cd "$(dirname "$0")/../.." && pwd)/build/shells-apt-get.log"
mkdir -p "$(dirname "$log")"
# shellcheck disable=SC2086 - one word for each
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
  >"$log" 2>&1 || echo "tests/cli: apt-get could not install:$missing (see $log)"
