"""What the operator chose when the server was started; program.md says the rest."""

from server.records import Value

DEFAULT_PORT = 8765
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"  # where a server listens unless it is told otherwise


class ServeOptions(Value):
    """The options of `autoresearch serve` that concern runs."""

    budget_seconds: float | None = None  # None: program.md's
    profile: str | None = None  # None: the machine's
    data: str = "embedded"  # or the name or folder of a prepared data set
    confine: bool = True  # put every guard that the machine has around train.py
    require_sealed: bool = False  # run nothing that is confined less
    wait_seconds: float | None = None  # that a call may wait; None: what its client bears
