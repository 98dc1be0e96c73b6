"""The macOS sandbox (Seatbelt) for train.py's process: the same reach as Landlock gives it on Linux.

`sandbox_init` is what sandbox-exec calls before it runs a command; Chromium confines its renderers by it. Apple calls
it deprecated and offers nothing else to a program that is not an app bundle.
"""

import ctypes
import json
import sys

from trainer.sandbox.reach import Allowlist

_RULES = """\
(version 1)
(allow default)
{network}(deny ipc-posix-shm* ipc-sysv*)
(deny signal)
(allow signal (target self) (target same-sandbox))
(deny file-write*)
(allow file-write* (subpath {writable}) (literal "/dev/null") (literal "/dev/zero") (literal "/dev/dtracehelper"))
(deny file-read-data (subpath "/Users") (subpath "/Volumes") (subpath "/private/tmp") (subpath "/private/var/folders"))
(allow file-read* (subpath {writable}) {readable})
"""


def rules(reach: Allowlist, network: bool = False) -> str:
    """The sandbox's rules in Apple's language; a later rule wins over an earlier one."""
    readable = [f"(subpath {json.dumps(str(path))})" for path in reach.readable]
    listed = [f"(literal {json.dumps(str(path))})" for path in reach.listed]
    network_rule = "" if network else "(deny network*)\n"
    return _RULES.format(
        network=network_rule, writable=json.dumps(str(reach.writable)), readable=" ".join(readable + listed)
    )


def restrict(reach: Allowlist, network: bool = False) -> None:
    """Confine this process and all its descendants, for ever.

    Raises:
        OSError: the rules were refused; this process is not confined.
    """
    if sys.platform != "darwin":
        raise OSError("the macOS sandbox is not here")
    message = ctypes.c_char_p()
    if ctypes.CDLL(None).sandbox_init(rules(reach, network).encode(), ctypes.c_uint64(0), ctypes.byref(message)):
        raise OSError(f"sandbox: {(message.value or b'refused').decode(errors='replace')}")
