"""``python -m arker``: the command line, the same as the program ``arker``."""

from __future__ import annotations

import sys

from arker._cli.program import main

if __name__ == "__main__":
    sys.exit(main())
