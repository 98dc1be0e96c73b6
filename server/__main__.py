"""`python -E -P -m server` is `autoresearch serve`. So is `python -E -P` with this file's path.

Clients start the server in the user's folder, with the user's PYTHONPATH. No module in either may replace one that the
server imports. -P keeps Python from looking into the current folder. -E keeps it from looking into PYTHONPATH.
"""

import gc
import os
import sys


def ours_first() -> None:
    """Make the import path: our packages, what is installed, and last what PYTHONPATH names, without this folder."""
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, or the one this file is in
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # A relative entry means a place in the current folder.
    told = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    named = [os.path.abspath(entry) for entry in told if os.path.isabs(entry)]
    theirs = named if sys.flags.ignore_environment else [os.path.abspath(entry) for entry in told]
    found = [entry for entry in sys.path if os.path.abspath(entry) not in theirs]
    if not sys.flags.ignore_environment:  # started without -E: an empty entry of PYTHONPATH is the current folder
        found = [entry for entry in found if not _is_here(entry)]
    if ours not in found:
        found.insert(0, ours)
    sys.path[:] = [*found, *(entry for entry in named if not _is_here(entry))]


def _is_here(folder: str) -> bool:
    try:
        return os.path.samefile(folder, os.curdir)
    except OSError:  # there is no such folder
        return False


if __name__ == "__main__":
    ours_first()
    gc.disable()  # as in autoresearch_command.py
    from server.cli.entry import main

    main(["serve", *sys.argv[1:]])
