"""Special names and ids (contract, section 2)."""

from __future__ import annotations

import re
from typing import Final

ARKER_ORG_ID: Final = "ArkerHQ"
"""The organisation that owns the public goldens."""

GOLDEN_NAMES: Final[tuple[str, ...]] = (
    "arkuntu",
    "ubuntu",
    "ubuntu-small",
    "ubuntu-nodisk",
    "ubuntu-nonet-nodisk",
    "ubuntu-full",
    "ubuntu-full-32",
    "ubuntu-py-repl",
    "ubuntu-js-repl",
    "ubuntu-docker",
    "ubuntu-chromium",
    "ubuntu-servo",
    "ubuntu-servo-js-repl",
    "ubuntu-chromium-js-repl",
)
"""Names of the public goldens; forking one of them by name needs no organisation."""

_BURST_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9]+")
_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}(_[A-Za-z0-9]+)?")

_LIKENESS: Final = 0.75
"""The least ratio of `difflib` at which a name is taken for a slip of another."""


def organisation_of(vm_name: str | None, org_id: str | None, org_name: str | None = None) -> str | None:
    """Return the id of the organisation in which a source is looked up: Arker's for goldens without a named owner."""
    return ARKER_ORG_ID if org_id is None and org_name is None and vm_name in GOLDEN_NAMES else org_id


def is_burst_reference(reference: str) -> bool:
    """Return whether a VM's id or name belongs to the burst provider: ``arkuntu``, or a ULID with a suffix."""
    trimmed = reference.strip()
    return trimmed.lower() == "arkuntu" or _BURST_ID.fullmatch(trimmed) is not None


def meant(source: str, *, image: str) -> str | None:
    """Return what the caller may have meant by the name of a source that does not exist; None if it is like nothing.

    Args:
        source: The name.
        image: How a container's image is given, such as ``image=``.
    """
    from difflib import get_close_matches  # a part of Python that only this needs

    if ":" in source or "/" in source:
        return f"a container's image is given as {image}"
    near = get_close_matches(source.strip().lower(), GOLDEN_NAMES, n=1, cutoff=_LIKENESS)
    return f"there is a public golden {near[0]!r}" if near else None


def looks_like_id(reference: str) -> bool:
    """Return whether a VM's id or name has the form that the service gives to ids."""
    return _ID.fullmatch(reference.strip()) is not None


__all__ = ["ARKER_ORG_ID", "GOLDEN_NAMES", "is_burst_reference", "looks_like_id", "meant", "organisation_of"]
