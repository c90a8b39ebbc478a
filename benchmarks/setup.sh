#!/bin/sh
# Installs Debian's native Binaryen, which the transformation's cost is compared with, where root may install packages.
# Elsewhere the benchmarks run without it, and say so.
set -eu

if [ -n "${CAESURA_BENCH_WASM_OPT:-}" ] || [ -x /usr/bin/wasm-opt ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "--- installing the native Binaryen"
    apt-get install --yes --quiet=2 binaryen >/dev/null || {
        apt-get update --quiet=2 && apt-get install --yes --quiet=2 binaryen >/dev/null
    } || echo "it cannot be installed: the comparison with it is left out"
fi
