"""`python -m caesura.cli.wasm_opt` is `caesura-wasm-opt`."""

import sys

from caesura.cli.wasm_opt.command import main

sys.exit(main())
