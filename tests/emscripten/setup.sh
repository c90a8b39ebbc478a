#!/bin/sh
# Install Emscripten for the tests of this folder, where it is missing: Debian's package, by apt-get.
# Ends with 0 where that cannot be done, too: the tests then say why they are skipped.
set -eu

folder="$(cd "$(dirname "$0")/../.." && pwd)/build/tests/emscripten"
reason="$folder/not-installed.txt"
mkdir -p "$folder"
rm -f "$reason"

skip() {
  echo "tests/emscripten: skipped: $1" | tee "$reason"
  exit 0
}

if command -v emcc >/dev/null 2>&1; then
  echo "tests/emscripten: $(emcc --version | head -n 1)"
  exit 0
fi
command -v apt-get >/dev/null 2>&1 || skip "emcc is not installed, and there is no apt-get to install it with"
[ "$(id -u)" = 0 ] || skip "emcc is not installed, and only root can install it with apt-get"

echo "tests/emscripten: installing emscripten with apt-get (about 1 GB, some minutes)"
log="$folder/apt-get.log"
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends emscripten; } \
  >"$log" 2>&1 || skip "apt-get could not install emscripten (see $log)"
echo "tests/emscripten: $(emcc --version | head -n 1)"
