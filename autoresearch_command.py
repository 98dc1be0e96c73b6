"""The `autoresearch` command. Its name is our own: no module `server` in PYTHONPATH's folders is imported for ours."""

import gc
import os
import sys


def main() -> None:
    """Run the command line, with our packages first in the import path."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[: not sys.flags.safe_path] = [here]  # in place of the script's folder, where Python has put that first
    from server.__main__ import ours_first

    ours_first()
    gc.disable()  # what is imported stays: to look through it again and again takes a tenth of a command's time
    from server.cli.entry import main as run

    run()
