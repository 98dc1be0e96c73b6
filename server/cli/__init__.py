"""The command."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Imported late: the other modules of this package do not need it."""
    from server.cli.entry import main as run

    run(arguments)
