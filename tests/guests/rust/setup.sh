#!/bin/sh
# Install a Rust compiler that makes WebAssembly for tests/real/test_guarded_rust.py, where there is none.
# Ends with 0 where that cannot be done, too: the tests then say why they are skipped.
set -eu

. "$(dirname "$0")/../../support/apt.sh"

# The same question as in tests/support/rust.py.
for rustc in $(which -a rustc 2>/dev/null || true); do
  sysroot="$("$rustc" --print sysroot 2>/dev/null)" || continue # rustup's, without a toolchain
  if ls "$sysroot"/lib/rustlib/wasm32-unknown-unknown/lib/*.rlib >/dev/null 2>&1; then
    echo "tests/guests/rust: $("$rustc" --version)"
    exit 0
  fi
done
echo "tests/guests/rust: installing rustc with apt-get (110 MB)"
log="$(cd "$(dirname "$0")/../../.." && pwd)/build/tests/rust-apt-get.log"
why="$(apt_install "$log" rustc libstd-rust-dev-wasm32)" || echo "tests/guests/rust: $why"
