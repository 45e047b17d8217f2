"""The identity of VMs' processes on the host.

A server of an ordinary user starts them as itself. A server that runs as root must not: "uid 1000" inside would be root
on the host, with its rights over /proc/sys, /etc/ssl/private and limits. So it takes an unused uid and gid.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from attrs import frozen

# Above the users and system users of every distribution, below `nobody` and the range of systemd's containers; within
# the 65,536 ids that a container engine's own user namespace has.
_CANDIDATES = range(64_200, 64_300)


@frozen
class Identity:
    """A uid and a gid of the host without any rights of their own."""

    uid: int
    gid: int

    def can_reach(self, path: Path) -> bool:
        """Return whether this identity may use ``path``, by the permissions of it and of all directories above it."""
        resolved = path.resolve()
        return all(self._may(place) for place in (resolved, *resolved.parents))

    def _may(self, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & 1)


class UserOptions(TypedDict, total=False):
    """Options of Popen: none, or those that change the user."""

    user: int
    group: int
    extra_groups: list[str | int]


def ways_to_start(identity: Identity | None) -> tuple[Sequence[str], UserOptions]:
    """Return how a program is started as an identity: the command to start it through, and options of Popen.

    With options that change the user, Python cannot use vfork: it copies the page tables of the whole server, which
    stops the server for milliseconds. A command that changes the user takes one more exec instead.
    """
    if identity is None:
        return (), {}
    command = becoming(identity)
    if command is None:
        return (), {"user": identity.uid, "group": identity.gid, "extra_groups": []}
    return command, {}


@functools.cache
def becoming(identity: Identity) -> Sequence[str] | None:
    """Return the command that becomes an identity; None where there is none, such as with busybox's setpriv."""
    program = shutil.which("setpriv", path="/usr/bin:/bin")
    if program is None:
        return None
    command = (program, "--reuid", str(identity.uid), "--regid", str(identity.gid), "--clear-groups", "--")
    tried = subprocess.run(
        [*command, "/bin/sh", "-c", 'test "$(id -u) $(id -G)" = "$0"', f"{identity.uid} {identity.gid}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
        check=False,
    )
    return command if tried.returncode == 0 else None


def spare_identity() -> Identity | None:
    """Return the identity for VMs of this process; None when it is not root, since VMs then run as its own user."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_uid for entry in pwd.getpwall()}
    groups = {entry.gr_gid for entry in grp.getgrall()}
    number = next(number for number in _CANDIDATES if number not in users and number not in groups)
    return Identity(number, number)


__all__ = ["Identity", "UserOptions", "becoming", "spare_identity", "ways_to_start"]
