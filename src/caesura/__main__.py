"""`python -m caesura` is the `caesura` command."""

import sys

from caesura.cli import main

sys.exit(main())
