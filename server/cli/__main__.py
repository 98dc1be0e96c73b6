"""`python -m server.cli` is the `autoresearch` command."""

from server.cli.entry import main

if __name__ == "__main__":
    main()
