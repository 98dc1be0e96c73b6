"""`python -m server` is `autoresearch serve`."""

import sys

from server.cli.entry import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
