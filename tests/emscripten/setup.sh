#!/bin/sh
# Install Emscripten for the tests of this folder, where it is missing.
# Ends with 0 where that cannot be done, too: the tests then say why they are skipped.
set -eu

. "$(dirname "$0")/../support/apt.sh"

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
echo "tests/emscripten: installing emscripten with apt-get (about 1 GB, some minutes)"
why="$(apt_install "$folder/apt-get.log" emscripten)" || skip "$why"
echo "tests/emscripten: $(emcc --version | head -n 1)"
