"""The session keyring of the user who started the server: VMs must not inherit it."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import platform
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.bubblewrap.seccomp import ARCHITECTURES

_JOIN_SESSION_KEYRING: Final = 1

logger = logging.getLogger("arker.emulator")


def _enough_keys() -> bool:
    """Return whether less than half of this user's quota is used up. A keyring counts as a key."""
    try:
        for line in Path("/proc/key-users").read_text().splitlines():
            user, _, rest = line.partition(":")
            if int(user) == os.geteuid():
                used, most = rest.split()[2].split("/")
                return int(used) * 2 < int(most)
    except (OSError, ValueError, IndexError):  # the file does not exist, or has another format
        pass
    return True


class Keyrings:
    """The session keyrings of VMs, one after the other."""

    def __init__(self) -> None:
        self._left = False
        self._warned = False

    def leave(self) -> None:
        """Give this thread, and what it starts from now on, a new, empty, unnamed session keyring.

        There is no way back to the one before; the server has no use for it. When half of the keys that the user may
        have are used up, the thread keeps the keyring that it made last: that of a VM, not of a login.
        """
        if self._left and not _enough_keys():
            return
        architecture = ARCHITECTURES.get(platform.machine())
        if architecture is None:
            self._warn(f"the number of keyctl is not known for processors of the kind {platform.machine()!r}")
            return
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(architecture.numbers["keyctl"], _JOIN_SESSION_KEYRING, None) >= 0:
            self._left = True
            return
        code = ctypes.get_errno()
        # Without keys in the kernel, or where a container forbids them, there is nothing to keep apart.
        if code not in (errno.ENOSYS, errno.EPERM):
            self._warn(os.strerror(code))

    def _warn(self, reason: str) -> None:
        if not self._left and not self._warned:
            self._warned = True
            logger.warning("VMs keep the session keyring that the server was started with: %s", reason)


__all__ = ["Keyrings"]
