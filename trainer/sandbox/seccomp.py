"""A seccomp filter for what Landlock leaves open: sockets, descriptors sent to others, memory shared by number, other
processes, metadata.

Written as classic BPF, installed through prctl(2). A call is answered in one of three ways: refused with EACCES;
refused with EPERM when its first argument names another process or asks for a new namespace; or answered with success
and not made (file modes, owners and times: honest code sets them on its own files and never looks, and a file that
others see must not change; what becomes of SIGCHLD, so that the CPU seconds of every child are counted; and the cores
of this process, which may be held on one).
Descriptors that are already open, pipes and socketpair(2) are untouched.

Source: seccomp(2), linux/filter.h. libseccomp would do the same and is not installed everywhere.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_PR_SET_MM = 35  # where code and stack are, as /proc tells it
_MODE_FILTER = 2
# BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_JMP|JSET|K, BPF_RET|K
_LOAD = 0x20
_EQUAL = 0x15
_AT_LEAST = 0x35
_ANY_OF = 0x45
_RETURN = 0x06
_KILL = 0x80000000
_ERRNO = 0x00050000
_ALLOW = 0x7FFF0000
_NOTIFY = 0x7FC00000
_NEW_LISTENER = 8  # SECCOMP_FILTER_FLAG_NEW_LISTENER
# offsets in struct seccomp_data
_NUMBER = 0
_ARCHITECTURE = 4
# their low halves
_FIRST_ARGUMENT = 16
_SECOND_ARGUMENT = 24
_THIRD_ARGUMENT = 32
ADDRESS_OF_SENDTO = 48  # its fifth argument
_HIGH = 4  # from the low half of an argument to the high one
_X32_BIT = 0x40000000

# name: number on x86-64, number on aarch64 (None: that architecture has no such call)
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),  # network, and the sockets of local services
    "io_uring_setup": (425, 425),  # makes sockets without socket(2), and sends without sendmsg(2)
    "sendmsg": (46, 211),  # these two pass descriptors on; plain data needs send(2) or write(2) alone
    "sendmmsg": (307, 269),
    "shmget": (29, 194),  # these three outlive a process, and anyone with the number can read them
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "file_setattr": (469, 469),
    "cachestat": (451, 451),  # these four tell or change which pages of a file are in memory: bits for a later process
    "fadvise64": (221, 223),
    "mincore": (27, 232),
    "preadv2": (327, 286),
    "process_madvise": (440, 440),  # as these do: it can put a page out of memory
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "inotify_init": (253, None),  # tells when somebody else reads a file, also one that may not be read here
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),  # the kernel's log: a line for every child that dies of a fault, with its address
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "kcmp": (312, 272),
    "open_by_handle_at": (304, 265),
    "timer_create": (222, 107),  # can send any signal: a process that ends itself so looks as if somebody had ended it
    "setpriority": (141, 140),  # can name all processes of a user
    "ioprio_set": (251, 30),
}
_OWN_ONLY: dict[str, tuple[int, int]] = {  # first argument 0: this process
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
_IGNORED: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
_F_SETSIG = 10  # any signal when something can be read
# Arguments that change the inode of a file which may only be read: flags, generation, project, life-time hints; that
# tell when others open it, by a lease or a notice; and advice that puts pages of a file out of memory, as if the kernel
# were older than Linux 5.4.
_COMMANDS: dict[str, tuple[tuple[int, int], int, tuple[int, ...], int]] = {
    "ioctl": ((16, 29), _SECOND_ARGUMENT, (0x40086602, 0x40046602, 0x40087602, 0x40047602, 0x401C5820), errno.EPERM),
    "fcntl": ((72, 25), _SECOND_ARGUMENT, (_F_SETSIG, 1024, 1026, 1036, 1038), errno.EPERM),
    "madvise": ((28, 233), _THIRD_ARGUMENT, (20, 21), errno.EINVAL),
}
# Answered with success and not made for SIGCHLD. A process that ignores that signal makes the kernel forget what its
# children used; left at its default, all of it is counted (trainer.processes.cpu_meter).
_SIGACTION = (13, 134)
SIGACTION = "rt_sigaction"
_SIGCHLD = 17
# Answered with success and not made for this process, refused for another.
_AFFINITY = (203, 122)  # sched_setaffinity
# A process in a user namespace of its own has every capability there: more of the kernel is in its reach. A new process
# in new namespaces is refused by its flags; clone3 has them in memory, where no filter sees them, so that it seems not
# to be there, and the C library makes its threads and processes by clone.
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW* (linux/sched.h)
_SIBLING = 0x8000  # CLONE_PARENT: the new process is no child of its maker, whose descendants are counted
# The CPU clock of any process of the machine can be read, also of the referee, which one process can make work for a
# later one to tell. Its own has two names, those of its threads have the bit.
_CLOCKS = ((228, 113), (229, 114), (230, 115))  # clock_gettime, clock_getres, clock_nanosleep
_OF_A_PROCESS = 0x80000000
_OF_A_THREAD = 4
_OF_THIS_PROCESS = 0xFFFFFFFA
SECCOMP = (317, 277)
_PRCTL = (157, 167)
# A limit of CPU seconds ends a process by a signal, as somebody else would.
LIMITS = "setrlimit"
_SETRLIMIT = (160, 164)
_PRLIMIT = (302, 261)
_RLIMIT_CPU = 0
_SENDTO = (44, 206)
_PR_SET_CHILD_SUBREAPER = 36  # orphans come to the referee, which must see them
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH


TABLES = (_REFUSED, _OWN_ONLY, _IGNORED)
OF_FILES = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat")  # modes and times, as builds set them
OF_ENDS = frozenset({"timer_create", LIMITS})  # with them a process can end itself as somebody else would
ATTRIBUTES = frozenset({"setxattr", "lsetxattr", "fsetxattr", "setxattrat"})
NETWORK = frozenset({"socket", "sendmsg", "sendmmsg"})  # what the guard of this name is made of


def install(another: int = 0, *, left_out: frozenset[str] = frozenset()) -> None:
    """Filter the system calls of this thread and all its descendants, from here on and for ever.

    Args:
        another: address of the one filter that may be put on later (trainer.sandbox.lookups); 0: there is none.
        left_out: names of calls that are made as ever; where there are some, a command is filtered, and not train.py.

    Raises:
        OSError: no seccomp here; nothing is filtered.
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, f"no system call filter for {platform.system()} on {platform.machine()}")
    code = program(*MACHINES[platform.machine()], another, left_out)
    kept = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count and a pointer, padded to the pointer's alignment
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _MODE_FILTER, head, 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def listen() -> int:
    """Ask whoever holds the descriptor that this returns about each of OF_FILES, instead of an answer by a filter.

    To be called before `install`, which then leaves them out.

    Raises:
        OSError: the kernel cannot do that (Linux 5.0 can).
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, f"no system call filter for {platform.system()} on {platform.machine()}")
    column, architecture = MACHINES[platform.machine()]
    code = b"".join(_opening(column, architecture))
    for name in OF_FILES:
        if (number := _IGNORED[name][column]) is not None:
            code += _instruction(_EQUAL, number, 0, 1) + _instruction(_RETURN, _NOTIFY)
    code += _instruction(_RETURN, _ALLOW)
    kept = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if (listener := libc.syscall(SECCOMP[column], 1, _NEW_LISTENER, head)) < 0:  # SECCOMP_SET_MODE_FILTER
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    return listener


def of_files() -> dict[int, str]:
    """The names of OF_FILES by their numbers on this machine."""
    column = MACHINES[platform.machine()][0]
    return {number: name for name in OF_FILES if (number := _IGNORED[name][column]) is not None}


def program(column: int, architecture: int, another: int = 0, left_out: frozenset[str] = frozenset()) -> bytes:
    """The filter: a test and its answer a call, so that every jump is short."""
    code = [*_opening(column, architecture), *_of_filters(column, another)]
    for calls, answer in ((_REFUSED, errno.EACCES), (_IGNORED, 0)):
        for name, numbers in calls.items():
            if (number := numbers[column]) is not None and name not in left_out:
                # `cp -p` goes on where a file system has no attributes, and fails where it may not set them.
                told = errno.EOPNOTSUPP if left_out and name in ATTRIBUTES else answer
                code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _ERRNO | told)]
    for numbers, argument, commands, answer in _COMMANDS.values():
        code += [
            _instruction(_EQUAL, numbers[column], 0, 2 + 2 * len(commands)),
            _instruction(_LOAD, argument),
        ]
        for command in commands:
            code += [_instruction(_EQUAL, command, 0, 1), _instruction(_RETURN, _ERRNO | answer)]
        code += [_instruction(_RETURN, _ALLOW)]
    code += [_instruction(_EQUAL, _CLONE3[column], 0, 1), _instruction(_RETURN, _ERRNO | errno.ENOSYS)]
    code += [
        _instruction(_EQUAL, _CLONE[column], 0, 4),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_ANY_OF, _NEW_NAMESPACES | _SIBLING, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    code += _of_ends(column, left_out)
    for numbers in _CLOCKS:
        code += [
            _instruction(_EQUAL, numbers[column], 0, 6),
            _instruction(_LOAD, _FIRST_ARGUMENT),
            _instruction(_ANY_OF, _OF_A_PROCESS, 0, 3),
            _instruction(_ANY_OF, _OF_A_THREAD, 2, 0),
            _instruction(_EQUAL, _OF_THIS_PROCESS, 1, 0),
            _instruction(_RETURN, _ERRNO | errno.EINVAL),
            _instruction(_RETURN, _ALLOW),
        ]
    own_only = [(numbers[column], _ALLOW) for numbers in _OWN_ONLY.values()]
    for number, answer in (*own_only, (_AFFINITY[column], _ERRNO)):
        code += [
            _instruction(_EQUAL, number, 0, 4),
            _instruction(_LOAD, _FIRST_ARGUMENT),
            _instruction(_EQUAL, 0, 1, 0),
            _instruction(_RETURN, _ERRNO | errno.EPERM),
            _instruction(_RETURN, answer),
        ]
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _of_ends(column: int, left_out: frozenset[str]) -> list[bytes]:
    """No child is forgotten as it ends, no limit of CPU seconds set; prlimit(2) without an address only reads one."""
    children = [
        _instruction(_EQUAL, _SIGACTION[column], 0, 4),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_EQUAL, _SIGCHLD, 0, 1),
        _instruction(_RETURN, _ERRNO),
        _instruction(_RETURN, _ALLOW),
    ]
    limits = [
        _instruction(_EQUAL, _SETRLIMIT[column], 0, 4),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_EQUAL, _RLIMIT_CPU, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_RETURN, _ALLOW),
        _instruction(_EQUAL, _PRLIMIT[column], 0, 8),
        _instruction(_LOAD, _SECOND_ARGUMENT),
        _instruction(_EQUAL, _RLIMIT_CPU, 0, 5),
        _instruction(_LOAD, _THIRD_ARGUMENT),
        _instruction(_EQUAL, 0, 0, 2),
        _instruction(_LOAD, _THIRD_ARGUMENT + _HIGH),
        _instruction(_EQUAL, 0, 1, 0),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_LOAD, _NUMBER),  # for what else is asked of this call
    ]
    return children * (SIGACTION not in left_out) + limits * (LIMITS not in left_out)


def _of_filters(column: int, another: int) -> list[bytes]:
    """No other filter than `another`, no orphans for this process, and no other addresses in /proc than it has."""
    return [
        _instruction(_EQUAL, _PRCTL[column], 0, 6),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_EQUAL, _PR_SET_SECCOMP, 2, 0),
        _instruction(_EQUAL, _PR_SET_MM, 1, 0),
        _instruction(_EQUAL, _PR_SET_CHILD_SUBREAPER, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_RETURN, _ALLOW),
        # seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, another)
        _instruction(_EQUAL, SECCOMP[column], 0, 10),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_EQUAL, 1, 0, 7),
        _instruction(_LOAD, _SECOND_ARGUMENT),
        _instruction(_EQUAL, 1, 0, 5),
        _instruction(_LOAD, _THIRD_ARGUMENT),
        _instruction(_EQUAL, another & 0xFFFFFFFF, 0, 3),
        _instruction(_LOAD, _THIRD_ARGUMENT + _HIGH),
        _instruction(_EQUAL, another >> 32, 0, 1),
        _instruction(_RETURN, _ALLOW if another else _ERRNO | errno.EPERM),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
    ]


def answers(
    calls: dict[str, tuple[int | None, int | None]], column: int, architecture: int, answer: int, address: int
) -> bytes:
    """A filter that answers these calls with an error, and sendto(2) too where its argument at `address` is not 0."""
    code = _opening(column, architecture)
    for numbers in calls.values():
        if (number := numbers[column]) is not None:
            code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _ERRNO | answer)]
    code += [
        _instruction(_EQUAL, _SENDTO[column], 0, 5),
        _instruction(_LOAD, address),
        _instruction(_EQUAL, 0, 0, 2),
        _instruction(_LOAD, address + _HIGH),
        _instruction(_EQUAL, 0, 1, 0),
        _instruction(_RETURN, _ERRNO | answer),
    ]
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _opening(column: int, architecture: int) -> list[bytes]:
    """Calls of another architecture are not made at all; then the call's number is at hand."""
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),  # 32-bit calls have other numbers: nobody honest makes them here
        _instruction(_LOAD, _NUMBER),
    ]
    if column == 0:
        code += [_instruction(_AT_LEAST, _X32_BIT, 0, 1), _instruction(_RETURN, _ERRNO | errno.ENOSYS)]
    return code


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
