"""A second filter of system calls: with it on, a process names no file any more, and wakes no other process.

The kernel remembers every name that was looked up, also of a file that is not there, and a later process can tell by
the time that its own look takes. So train.py's process puts this filter on before it is shown validation text. Its code
is not trusted to do so: the filter is written into sealed memory before that code runs, the first filter allows no
other one (trainer.sandbox.seccomp), and the referee sees in /proc how many are on.

Source: seccomp(2), mseal(2), proc_pid_status(5).
"""

import ctypes
import errno
import mmap
import os
import platform
import struct
import sys
from pathlib import Path

from trainer.contract import CLOSE_VARIABLE
from trainer.sandbox.seccomp import ADDRESS_OF_SENDTO, MACHINES, SECCOMP, answers

_MSEAL = 462  # Linux 6.10, the same number on every architecture
_FILTERS = "Seccomp_filters:"

# name: number on x86-64, number on aarch64 (None: that architecture has no such call)
_NAMES_FILES: dict[str, tuple[int | None, int | None]] = {
    "open": (2, None),
    "creat": (85, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "stat": (4, None),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "statfs": (137, 43),
    "chdir": (80, 49),
    "chroot": (161, 51),
    "execve": (59, 221),
    "execveat": (322, 281),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "truncate": (76, 45),
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "getxattrat": (464, 464),
    "listxattrat": (465, 465),
    "removexattrat": (466, 466),
    "file_getattr": (468, 468),
    "name_to_handle_at": (303, 264),
    "inotify_add_watch": (254, 27),
    "fanotify_mark": (301, 263),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "uselib": (134, None),
    "bind": (49, 200),  # of a local socket
    "connect": (42, 203),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}
TABLES = (_NAMES_FILES,)


def lay_ready() -> int:
    """Write the filter into memory that no code of this process can change. Forked processes have it as well.

    Returns:
        The address of its struct sock_fprog.

    Raises:
        OSError: the kernel cannot seal memory, or knows no filter.
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise OSError(errno.ENOSYS, f"no system call filter for {platform.system()} on {platform.machine()}")
    if Path("/proc/sys/kernel/randomize_va_space").read_text(encoding="ascii").strip() == "0":
        raise OSError(errno.ENOSYS, "addresses are not random here (kernel.randomize_va_space): see `image`")
    code = program(*MACHINES[platform.machine()])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    size = -(-(16 + len(code)) // mmap.PAGESIZE) * mmap.PAGESIZE
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    at = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE, private, -1, ctypes.c_long(0))
    ctypes.memmove(at, struct.pack("HxxxxxxP", len(code) // 8, at + 16) + code, 16 + len(code))
    area = ctypes.c_void_p(at), ctypes.c_size_t(size)
    if libc.mprotect(*area, mmap.PROT_READ) or libc.syscall(_MSEAL, *area, 0):
        told = os.strerror(ctypes.get_errno())
        raise OSError(ctypes.get_errno(), f"the kernel cannot seal memory (Linux 6.10 can): {told}")
    os.environ[CLOSE_VARIABLE] = f"{SECCOMP[MACHINES[platform.machine()][0]]} {at}"
    return at


def program(column: int, architecture: int) -> bytes:
    """The filter: the calls are refused with EACCES, and sendto(2) where it names an address."""
    return answers(_NAMES_FILES, column, architecture, errno.EACCES, ADDRESS_OF_SENDTO)


def image(pid: int) -> tuple[str, ...]:
    """What tells a process that has begun another program: where the kernel has put its code and its stack."""
    if sys.platform != "linux":
        return ()
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return tuple(fields[23:26])


def filters(pid: int) -> int:
    """How many filters are on in every thread of a process. Raises OSError: it is gone."""
    counts: list[int] = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
        counts += [int(line.split()[1]) for line in lines if line.startswith(_FILTERS)]
    return min(counts, default=0)
