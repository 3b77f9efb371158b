"""`python -m devstack`: see `cli.py`."""

import sys

from devstack.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
