"""What tests of both generations need that one of them does not have: the only reasons to leave a test out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GENERATIONS: Final = ("both", "0.5", "1")

LACKS: Final[Mapping[str, Mapping[str, str]]] = {
    "both": {},
    "0.5": {
        "terminals": "generation 0.5 has none",
        "words of 1": "generation 0.5 has no descriptions, no list of goldens, no regions and no organisation's name",
    },
    "1": {
        "tunnels": "generation 1 has none: a port is reached at the VM's hostname, which the embedded backend has not",
        "arguments of 0.5": "generation 1 has neither sizes nor a network of single runs, nor acquire and release",
        "runs that leave something": "in generation 1 a run is over only when all that it started is",
    },
}
"""By what the backend speaks: what it does not have, and why."""


def lack(spoken: str, needed: str) -> str | None:
    """Return why a backend does not have what a test needs; None if it has it.

    Raises:
        ValueError: No generation lacks that.
    """
    if not any(needed in lacks for lacks in LACKS.values()):
        raise ValueError(f"no generation lacks {needed!r}: tests.support.generations says what they lack")
    return LACKS[spoken].get(needed)


__all__ = ["GENERATIONS", "LACKS", "lack"]
