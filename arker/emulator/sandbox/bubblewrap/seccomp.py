"""The system call filter of VMs: a program of the kernel's packet filter, assembled by hand.

Namespaces confine most of what the kernel does; what is listed here they do not confine (keys, vsock), or it serves no
program of the usual kind and has been a way out of sandboxes before. Everything else is allowed, so that programs work
as they do elsewhere. What is refused answers with the error that programs know how to live with.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

FAMILIES: Final = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
"""The families that sockets may have."""
NETLINK: Final = {"NETLINK_ROUTE": 0, "NETLINK_SOCK_DIAG": 4, "NETLINK_KOBJECT_UEVENT": 15, "NETLINK_GENERIC": 16}
"""The protocols that netlink sockets may have."""

_EPERM: Final = (
    *("add_key", "keyctl", "request_key"),  # keys belong to the user, and are confined by no namespace
    *("bpf", "perf_event_open", "userfaultfd"),
    *("acct", "kexec_file_load", "kexec_load", "quotactl", "quotactl_fd", "reboot", "swapoff", "swapon", "syslog"),
    *("delete_module", "finit_module", "init_module", "ioperm", "iopl", "lookup_dcookie"),
    *("fsconfig", "fsmount", "fsopen", "fspick", "mount_setattr", "move_mount", "open_tree", "open_tree_attr"),
    *("open_by_handle_at", "pidfd_getfd", "pivot_root", "setns"),
)
_ENOSYS: Final = (
    *("io_uring_enter", "io_uring_register", "io_uring_setup"),  # it makes sockets without `socket`
    *("listmount", "listns", "modify_ldt", "statmount"),
)
REFUSED: Final = {**dict.fromkeys(_EPERM, errno.EPERM), **dict.fromkeys(_ENOSYS, errno.ENOSYS)}
"""System calls that fail whatever their arguments, and how."""

# From 424 on, numbers are the same everywhere.
_COMMON: Final = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "statmount": 457,
    "listmount": 458,
    "open_tree_attr": 467,
    "listns": 470,
}
_X86_64: Final = {
    "socket": 41,
    "socketpair": 53,
    "syslog": 103,
    "modify_ldt": 154,
    "pivot_root": 155,
    "acct": 163,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "lookup_dcookie": 212,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "perf_event_open": 298,
    "open_by_handle_at": 304,
    "setns": 308,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
}
_AARCH64: Final = {
    "lookup_dcookie": 18,
    "pivot_root": 41,
    "quotactl": 60,
    "acct": 89,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "syslog": 116,
    "reboot": 142,
    "socket": 198,
    "socketpair": 199,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "swapon": 224,
    "swapoff": 225,
    "perf_event_open": 241,
    "open_by_handle_at": 265,
    "setns": 268,
    "finit_module": 273,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}


@frozen(kw_only=True)
class Architecture:
    """The differences between processors.

    Attributes:
        audit: How the kernel names it to filters.
        numbers: System calls by their names; those that it does not have are missing.
        limit: The number from which on calls are of another ABI, which shares the name; None where there is none.
    """

    audit: int
    numbers: dict[str, int] = field(repr=False)
    limit: int | None = None


ARCHITECTURES: Final = {
    "x86_64": Architecture(audit=0xC000003E, numbers={**_COMMON, **_X86_64}, limit=0x40000000),
    "aarch64": Architecture(audit=0xC00000B7, numbers={**_COMMON, **_AARCH64}),
}

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000  # the whole process, by SIGSYS
_ERRNO: Final = 0x00050000

_LOAD: Final = 0x20
_RETURN: Final = 0x06
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35

# Offsets in what a filter looks at: the call's number, the architecture, the lower half of each argument.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FAMILY: Final = 16
_PROTOCOL: Final = 32

_Line = tuple[int, int, str, str]
"""An instruction: its code, its value, and the labels that a jump leads to; an empty label is the next line."""


def refuse(number: int) -> int:
    """Return the verdict that makes a call fail with this errno."""
    return _ERRNO | number


def build_filter(architecture: Architecture) -> bytes:
    """Build the program for one architecture, in the form that bwrap takes."""
    numbers = architecture.numbers
    lines: list[_Line] = [
        (_LOAD, _ARCHITECTURE, "", ""),
        (_JUMP_EQUAL, architecture.audit, "", "kill"),
        (_LOAD, _NUMBER, "", ""),
    ]
    if architecture.limit is not None:
        lines.append((_JUMP_AT_LEAST, architecture.limit, f"errno {errno.ENOSYS}", ""))
    lines += [(_JUMP_EQUAL, numbers[name], "family", "") for name in ("socket", "socketpair")]
    lines += [(_JUMP_EQUAL, numbers[name], f"errno {code}", "") for name, code in REFUSED.items() if name in numbers]
    labels: dict[str, int] = {}
    lines.append((_RETURN, ALLOW, "", ""))
    labels["family"] = len(lines)
    lines.append((_LOAD, _FAMILY, "", ""))
    lines.append((_JUMP_EQUAL, FAMILIES["AF_NETLINK"], "netlink", ""))
    lines += _one_of([number for name, number in FAMILIES.items() if name != "AF_NETLINK"])
    lines.append((_RETURN, refuse(errno.EAFNOSUPPORT), "", ""))
    labels["netlink"] = len(lines)
    lines.append((_LOAD, _PROTOCOL, "", ""))
    lines += _one_of(list(NETLINK.values()))
    lines.append((_RETURN, refuse(errno.EPROTONOSUPPORT), "", ""))
    labels["accept"] = len(lines)
    lines.append((_RETURN, ALLOW, "", ""))
    for code in sorted({*REFUSED.values(), errno.ENOSYS}):
        labels[f"errno {code}"] = len(lines)
        lines.append((_RETURN, refuse(code), "", ""))
    labels["kill"] = len(lines)
    lines.append((_RETURN, KILL, "", ""))
    return _assemble(lines, labels)


def _one_of(values: Sequence[int]) -> list[_Line]:
    return [(_JUMP_EQUAL, value, "accept", "") for value in values]


def _assemble(lines: Sequence[_Line], labels: dict[str, int]) -> bytes:
    def distance(place: int, label: str) -> int:
        return labels[label] - place - 1 if label else 0

    # struct raises where a jump would be longer than 255 lines
    return b"".join(
        struct.pack("=HBBI", code, distance(place, true), distance(place, false), value)
        for place, (code, value, true, false) in enumerate(lines)
    )


def choose_filter() -> bytes | str:
    """Choose the filter for this machine. Returns it, or the reason why there is none, for people."""
    machine = platform.machine()
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        return f"there is none for processors of the kind {machine!r}, only for {' and '.join(ARCHITECTURES)}"
    if sys.maxsize < 2**32:
        return f"this Python is a program of 32 bits, and the filter is for those of {machine}"
    if not _kernel_filters():
        return "the kernel has no filters of system calls (CONFIG_SECCOMP_FILTER)"
    return build_filter(architecture)


def _kernel_filters() -> bool:
    """Return whether the kernel supports filters: given a null address, it then complains about that, not about the
    request.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    set_seccomp, by_filter = 22, 2
    return bool(libc.prctl(set_seccomp, by_filter, None, 0, 0)) and ctypes.get_errno() == errno.EFAULT


__all__ = ["ALLOW", "ARCHITECTURES", "FAMILIES", "KILL", "NETLINK", "REFUSED", "Architecture", "build_filter"]
__all__ += ["choose_filter", "refuse"]
