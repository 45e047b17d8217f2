"""Paths of the API, and which names and ids are special (contract, sections 2 and 5)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

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

FORK: Final = "/v1/fork"
VMS: Final = "/v1/vms"
ORG_RUNS: Final = "/v1/runs"
FILESYSTEMS: Final = "/v1/filesystems"


def is_burst_reference(reference: str) -> bool:
    """Whether a VM's id or name belongs to the burst provider: ``arkuntu``, or a ULID with a suffix."""
    trimmed = reference.strip()
    return trimmed.lower() == "arkuntu" or _BURST_ID.fullmatch(trimmed) is not None


def vm(vm_id: str) -> str:
    return f"{VMS}/{_whole(vm_id)}"


def runs(vm_id: str) -> str:
    return f"{vm(vm_id)}/runs"


def run(vm_id: str, run_id: str) -> str:
    return f"{runs(vm_id)}/{_whole(run_id)}"


def sync(vm_id: str) -> str:
    return f"{vm(vm_id)}/sync"


def resize(vm_id: str) -> str:
    return f"{vm(vm_id)}/resize"


def sessions(vm_id: str) -> str:
    return f"{vm(vm_id)}/sessions"


def session(vm_id: str, session_id: str) -> str:
    return f"{sessions(vm_id)}/{_whole(session_id)}"


def tunnels(vm_id: str) -> str:
    return f"{vm(vm_id)}/tunnels"


def tunnel(vm_id: str, tunnel_key: str) -> str:
    return f"{tunnels(vm_id)}/{_whole(tunnel_key)}"


def bindings(vm_id: str) -> str:
    """Filesystems bound into a VM; the contract calls them syncs."""
    return f"{vm(vm_id)}/syncs"


def binding(vm_id: str, sync_id: str) -> str:
    return f"{bindings(vm_id)}/{_whole(sync_id)}"


def filesystem(filesystem_id: str) -> str:
    return f"{FILESYSTEMS}/{_whole(filesystem_id)}"


_IDS: Final = re.compile(rf"{VMS}/([^/]+)(?:/runs/([^/]+))?")


def ids_in(path: str) -> tuple[str | None, str | None]:
    """The ids of the VM and of the run that a path is below, each None if it is below none."""
    match = _IDS.match(path)
    if match is None:
        return None, None
    return unquote(match[1]), unquote(match[2]) if match[2] is not None else None


# A VM is asked for again and again.
@lru_cache(maxsize=1024)
def _whole(identifier: str) -> str:
    """An id percent-encoded so that no part of it can change the path."""
    return quote(identifier, safe="")
