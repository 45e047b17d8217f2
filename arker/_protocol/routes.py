"""Paths of the API (contract, section 5)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import quote

FORK: Final = "/v1/fork"
VMS: Final = "/v1/vms"
ORG_RUNS: Final = "/v1/runs"
FILESYSTEMS: Final = "/v1/filesystems"
HEALTH: Final = "/v1/health"
REGIONS: Final = "/v1/regions"
WHOAMI: Final = "/v1/whoami"
POOLS: Final = "/v1/pools"
API_KEYS: Final = "/v1/api-keys"


def vm(vm_id: str) -> str:
    return f"{VMS}/{_whole(vm_id)}"


@lru_cache(maxsize=1024)
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


def pty(vm_id: str, session_id: str) -> str:
    return f"{session(vm_id, session_id)}/pty"


def pty_ticket(vm_id: str, session_id: str) -> str:
    return f"{session(vm_id, session_id)}/pty-ticket"


def tunnels(vm_id: str) -> str:
    return f"{vm(vm_id)}/tunnels"


def tunnel(vm_id: str, tunnel_key: str) -> str:
    return f"{tunnels(vm_id)}/{_whole(tunnel_key)}"


def mounts(vm_id: str) -> str:
    return f"{vm(vm_id)}/mounts"


def mount(vm_id: str, mount_id: str) -> str:
    return f"{mounts(vm_id)}/{_whole(mount_id)}"


def bindings(vm_id: str) -> str:
    """Return the path of the filesystems bound into a VM in generation 0.5, which calls them syncs."""
    return f"{vm(vm_id)}/syncs"


def binding(vm_id: str, sync_id: str) -> str:
    return f"{bindings(vm_id)}/{_whole(sync_id)}"


def filesystem(filesystem_id: str) -> str:
    return f"{FILESYSTEMS}/{_whole(filesystem_id)}"


def pool(pool_id: str) -> str:
    return f"{POOLS}/{_whole(pool_id)}"


def workers(pool_id: str) -> str:
    return f"{pool(pool_id)}/workers"


def api_key(api_key_id: str) -> str:
    return f"{API_KEYS}/{_whole(api_key_id)}"


# A VM is asked for again and again.
@lru_cache(maxsize=1024)
def _whole(identifier: str) -> str:
    """Percent-encode an id so that no part of it can change the path."""
    return quote(identifier, safe="")
