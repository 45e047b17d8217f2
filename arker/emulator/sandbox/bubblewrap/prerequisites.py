"""What this machine needs to isolate VMs, apart from bubblewrap's own requirements; missing parts are named."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.base import IsolationUnavailableError
from arker.emulator.sandbox.bubblewrap.identity import Identity

_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash")
"""Places that VMs share with the machine."""
_RIGHTS: Final = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}
"""Capabilities that it takes to have processes and files under another user, by their bits."""


def find_bash(identity: Identity | None) -> str:
    """Return where VMs have their bash.

    Raises:
        IsolationUnavailableError: No bash was found.
    """
    for shell in _SHELLS:
        if os.access(shell, os.X_OK) and (identity is None or identity.can_reach(Path(shell))):
            return shell
    raise IsolationUnavailableError(
        f"commands run in bash, and VMs have the programs of this machine, which has no bash: looked for "
        f"{', '.join(_SHELLS)}. Install it."
    )


def check_rights(identity: Identity | None) -> None:
    """Check that a root server has the rights to run VMs as another user.

    Raises:
        IsolationUnavailableError: A capability is missing, or the other user does not exist in this user namespace.
    """
    if identity is None:
        return
    missing = _missing_rights()
    if missing:
        raise IsolationUnavailableError(
            f"this process is root without root's rights: the capabilities {', '.join(missing)} are missing, and so "
            "VMs cannot be started under another user, as those of a root server are. Run it as an ordinary user, or "
            f"with these capabilities (of a container: {' '.join(f'--cap-add {name}' for name in missing)})."
        )
    for name, number in (("uid", identity.uid), ("gid", identity.gid)):
        if not _is_mapped(name, number):
            raise IsolationUnavailableError(
                f"this process is root of a user namespace that has no {name} {number}, and so VMs cannot be started "
                "under another user, as those of a root server are. Run it as an ordinary user, outside of it."
            )


def _missing_rights() -> list[str]:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        effective = int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)
        return [name for name, bit in _RIGHTS.items() if not effective >> bit & 1]
    return []


def _is_mapped(kind: str, number: int) -> bool:
    with contextlib.suppress(OSError, ValueError):
        ranges = [
            [int(part) for part in line.split()] for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()
        ]
        return any(first <= number < first + count for first, _, count in ranges)
    return True


__all__ = ["check_rights", "find_bash"]
