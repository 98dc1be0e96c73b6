"""Becomes a command of program.md: puts the guards on itself, says which of them hold, and runs `sh -c COMMAND`.

`python -P -B -m trainer.confined TOLD STDIN` reads its order on the standard input, as JSON, and works where it was
started. The order comes once the referee is ready to measure. What it tells, it tells through the descriptor TOLD, a
socket that closes as the command begins: by then only trusted code has run here. The descriptor STDIN becomes the
command's standard input; without one there is nothing to read.
"""

import _socket  # without the rest of `socket`, which takes longer to import than all else here
import json
import os
import resource
import signal
import struct
import sys
import time

from trainer.processes.parentage import become_subreaper, die_with_parent, forget_no_child
from trainer.sandbox.command_guards import confine_command, file_listener
from trainer.sandbox.privileges import GUARDS
from trainer.sandbox.reach import CommandOrder

_NOTHING = b" "  # what goes along with a descriptor
_SHELL = "/bin/sh"
_DEFAULTS = (signal.SIGINT, signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE))  # which Python ignores or takes


def main() -> None:
    """Become the command that the order names."""
    order = CommandOrder.from_json(sys.stdin.read())
    die_with_parent()
    forget_no_child()
    for number in _DEFAULTS:
        signal.signal(number, signal.SIG_DFL)
    told, *given = map(int, sys.argv[1:])
    _take_stdin(given[0] if given else os.open(os.devnull, os.O_RDONLY))
    if order.keeps_orphans:
        become_subreaper()
    channel = _socket.socket(fileno=told)
    os.set_inheritable(told, False)
    listener = file_listener() if order.asks and order.allowed else None
    if listener is not None:
        rights = struct.pack("i", listener)
        channel.sendmsg([_NOTHING], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        os.close(listener)
    guards = _confine(order, listener is not None)
    peak, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    report = {"guards": guards, "memory": peak, "seconds": seconds}
    os.write(told, json.dumps(report).encode() + b"\n")
    try:
        os.execve(_SHELL, ["sh", "-c", order.command], order.environment)
    except OSError as error:
        os.write(told, f"{_SHELL}: {error.strerror}".encode())
        sys.exit(127)


def _take_stdin(source: int) -> None:
    os.dup2(source, 0)
    os.close(source)


def _confine(order: CommandOrder, asks: bool) -> dict[str, str]:
    if order.allowed is None:
        return dict.fromkeys(GUARDS, "switched off by the operator")
    return confine_command(order, order.allowed, asks)


if __name__ == "__main__":
    main()
