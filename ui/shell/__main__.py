"""`python -m ui.shell`."""

import sys

from ui.shell.main import main

if __name__ == "__main__":
    sys.exit(main())
