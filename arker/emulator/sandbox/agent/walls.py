"""The restrictions that the agent puts on the VM, and on itself, before anything else runs in it."""

from __future__ import annotations

import _struct
import posix as os
import resource

from arker.emulator.sandbox.agent.processes import PROC, prctl, read_proc
from arker.emulator.sandbox.agent.system import function, last_error

SHARE = 4
"""A VM may have the fourth part of what the kernel lets the server's user have for all its programs."""
LIMITS = {
    "max_inotify_instances": "fs/inotify/max_user_instances",
    "max_inotify_watches": "fs/inotify/max_user_watches",
    "max_fanotify_groups": "fs/fanotify/max_user_groups",
    "max_fanotify_marks": "fs/fanotify/max_user_marks",
}
"""Limits of the VM's user namespace, and those of the server's user that its use counts against, too."""

RESOURCES = {
    "RLIMIT_SIGPENDING": 4096,  # timers and queued signals
    "RLIMIT_MSGQUEUE": 256 * 1024,
    "RLIMIT_RTPRIO": 0,  # some systems allow audio users real-time priority
    "RLIMIT_NICE": 0,
}
"""Other limits that the server's user shares among all processes, or that are higher than a VM may have."""

SHARED_MEMORY = 512 * 1024 * 1024
SHARED_FILES = 65536
"""The size of /dev/shm. Its content stays in memory after the processes that wrote it have been killed."""

DEVICES = (
    *("/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"),
    *("/etc/ld.so.preload", "/proc/cmdline", "/proc/key-users", "/proc/keys", "/proc/swaps"),
)
"""Paths that may be devices of the host. A process that may write to one may set its times, too."""

SCORE_OF_AGENTS = 800
SCORE_OF_COMMANDS = 1000
"""The order of kills when memory runs out: runs, then agents. The server's own score is nearly always lower."""

CAPABILITIES = {"CAP_SETPCAP": 8, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24}
"""The agent's capabilities, over the VM only, until `raise_walls` has returned."""

_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_CAPABILITY_VERSION = 0x20080522
_CLONE_NEWNS = 0x00020000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096


def raise_walls() -> list[str]:
    """Limit the VM's share of its user's resources, make /proc read-only, and drop the rights that this needed.

    All but the last are best efforts: a kernel that has no such limit, or a container that forbids the mount, costs one
    wall and not the VM. What could not be done is returned.

    Raises:
        OSError: The rights could not be given up.
    """
    mount = function("mount")
    missing: list[str] = []
    for name, source in LIMITS.items():
        try:
            _set_limit(f"sys/user/{name}", max(1, int(read_proc(f"sys/{source}")) // SHARE))
        except (OSError, ValueError) as error:
            if "inotify" in name:  # older kernels do not allow fanotify to every user
                missing.append(f"a limit of its own for {name} ({error})")
    for name, most in RESOURCES.items():
        if hasattr(resource, name):
            lower_limit(getattr(resource, name), most)
    try:
        if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        pass
    # Use a new mount namespace: bwrap's mounts belong to a user namespace that can no longer be entered. With
    # a read-only /proc, no process can undo the score that decides which one is killed first.
    options = f"mode=1777,size={SHARED_MEMORY},nr_inodes={SHARED_FILES}".encode()
    read_only = _REMOUNT | _BIND | _RDONLY | _NOSUID
    if function("unshare")(_CLONE_NEWNS) != 0:
        missing.append(f"a read-only /proc ({os.strerror(last_error())})")
    else:
        if mount(b"tmpfs", b"/dev/shm", b"tmpfs", _NOSUID | _NODEV, options) != 0:
            missing.append(f"a bound for the files in /dev/shm ({os.strerror(last_error())})")
        if mount(None, b"/proc", None, read_only | _NODEV | _NOEXEC, None) != 0:
            missing.append(f"a read-only /proc ({os.strerror(last_error())})")
        for path in DEVICES:  # not all of them are there
            mount(None, path.encode(), None, read_only, None)
    _drop_rights()
    return missing


def lower_limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(hard, value)
    resource.setrlimit(kind, (value, value))


def _set_limit(path: str, value: int) -> None:
    fd = os.open(path, os.O_WRONLY, dir_fd=PROC)
    try:
        os.write(fd, b"%d\n" % value)
    finally:
        os.close(fd)


def _drop_rights() -> None:
    for number in CAPABILITIES.values():
        prctl(_PR_CAPBSET_DROP, number)
    prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    if function("capset")(_struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)) != 0:
        code = last_error()
        raise OSError(code, f"the agent could not give up its rights: {os.strerror(code)}")


class Score:
    """The likelihood that the kernel kills this process and its later children when memory runs out.

    Make it while the process is dumpable: only then does it own its files in /proc.
    """

    def __init__(self) -> None:
        self._fd = -1
        self._least = 0
        if PROC is not None:
            try:
                self._least = int(read_proc("self/oom_score_adj"))
                self._fd = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=PROC)
            except (OSError, ValueError):
                pass

    def set(self, value: int) -> None:
        """Set the score, but never below its initial value."""
        if self._fd >= 0:
            try:
                os.write(self._fd, b"%d\n" % max(value, self._least))
            except OSError:
                pass

    def close(self) -> None:
        """Close the files in a forked process: there they would refer to its parent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
