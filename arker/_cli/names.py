"""The names of the commands, and the extra that most of them need."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EXTRA: Final = 'pip install "arker-async[cli]"'

PLAIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "reap": "Delete the VMs of killed programs.",
        "doctor": "Say what is configured, and whether the embedded backend works here.",
        "emulator": "Run the embedded backend, and say what to export.",
    }
)
"""The commands that need no extra, and what each does. Each is the module of its name."""

WITH_EXTRA: Final = (
    *("fork", "ls", "rm", "snapshot", "run", "shell", "cp", "logs", "runs"),
    *("tunnel", "watch", "whoami", "regions", "completion"),
)
"""The commands that need the extra."""

__all__ = ["EXTRA", "PLAIN", "WITH_EXTRA"]
