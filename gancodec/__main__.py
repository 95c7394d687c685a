"""``python -m gancodec``."""

import sys

from gancodec.cli import main

if __name__ == "__main__":
    sys.exit(main())
