"""Pure functions for the resources beside VMs, runs and files: sessions, tunnels, filesystems, syncs, resize, and the
organisation's run list (contract, section 5). Each gives a `Call` as a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from arker import _codec, _routes, models
from arker._calls import acknowledging, into
from arker._codec_hooks import Misfit
from arker._identifiers import new_idempotency_key
from arker._wire import Call, QueryValue, Replay, Request, T, encode_query

if TYPE_CHECKING:
    from arker._reader import Reader
    from arker.models import (
        CreateSessionRequest,
        DeleteFilesystemResponse,
        DeleteSessionResponse,
        DeleteSyncResponse,
        DeleteTunnelResponse,
        Filesystem,
        FilesystemCreateRequest,
        ListFilesystemsResponse,
        ListOrgRunsResponse,
        ListSessionsResponse,
        ListSyncsResponse,
        ListTunnelsResponse,
        ResizeRequest,
        ResizeResponse,
        Session,
        Sync,
        SyncCreateRequest,
        Tunnel,
        TunnelRequest,
    )

Query = Mapping[str, QueryValue]


_Names = tuple[str, ...]
_SESSION: Final = ("session_id",)
_TUNNEL: Final = ("tunnel_key", "url", "port")
_SYNC: Final = ("sync_id",)
_FILESYSTEM: Final = ("filesystem_id",)


def _get(
    operation: str, base_url: str, path: str, result: type[T], evidence: _Names, query: Query | None = None
) -> Call[T]:
    request = Request("GET", base_url, path, encode_query(query or {}))
    return Call(operation, request, into(result), evidence=evidence)


def _create(operation: str, base_url: str, path: str, body: object, result: type[T], evidence: _Names) -> Call[T]:
    """A creating POST. It carries a key, but a server may ignore it, so it is repeated only when nothing was sent."""
    return Call(
        operation,
        Request("POST", base_url, path, body=_codec.dumps(body), idempotency_key=new_idempotency_key()),
        into(result),
        Replay.UNSENT,
        evidence=evidence,
    )


def _delete(operation: str, base_url: str, path: str, gone: T) -> Call[T]:
    decode = acknowledging(type(gone), "deleted")
    request = Request("DELETE", base_url, path)
    return Call(operation, request, decode, gone=gone, evidence=("deleted",), acknowledged=True)


# --- sessions --------------------------------------------------------------------------------------------------------


def list_sessions(base_url: str, vm_id: str, query: Query) -> Call[ListSessionsResponse]:
    return _get(
        "vm.list_sessions", base_url, _routes.sessions(vm_id), models.ListSessionsResponse, ("sessions",), query
    )


def create_session(base_url: str, vm_id: str, request: CreateSessionRequest) -> Call[Session]:
    return _create("vm.create_session", base_url, _routes.sessions(vm_id), request, models.Session, _SESSION)


def get_session(base_url: str, vm_id: str, session_id: str) -> Call[Session]:
    return _get("vm.get_session", base_url, _routes.session(vm_id, session_id), models.Session, _SESSION)


def delete_session(base_url: str, vm_id: str, session_id: str) -> Call[DeleteSessionResponse]:
    gone = models.DeleteSessionResponse(deleted=True)
    return _delete("vm.delete_session", base_url, _routes.session(vm_id, session_id), gone)


# --- tunnels ---------------------------------------------------------------------------------------------------------


def list_tunnels(base_url: str, vm_id: str, query: Query) -> Call[ListTunnelsResponse]:
    return _get("vm.list_tunnels", base_url, _routes.tunnels(vm_id), models.ListTunnelsResponse, ("tunnels",), query)


def create_tunnel(base_url: str, vm_id: str, request: TunnelRequest) -> Call[Tunnel]:
    call = _create("vm.create_tunnel", base_url, _routes.tunnels(vm_id), request, models.Tunnel, _TUNNEL)
    return evolve(call, decode=_tunnel)


def get_tunnel(base_url: str, vm_id: str, tunnel_key: str) -> Call[Tunnel]:
    call = _get("vm.get_tunnel", base_url, _routes.tunnel(vm_id, tunnel_key), models.Tunnel, _TUNNEL)
    return evolve(call, decode=_tunnel)


def _tunnel(payload: dict[str, Any], reader: Reader) -> Tunnel:
    """A tunnel has no field that each server tells, but it has one of some."""
    if all(payload.get(name) is None for name in _TUNNEL):
        raise Misfit(f"has none of {', '.join(_TUNNEL)}", "$")
    return reader.structure(payload, models.Tunnel)


def delete_tunnel(base_url: str, vm_id: str, tunnel_key: str) -> Call[DeleteTunnelResponse]:
    gone = models.DeleteTunnelResponse(deleted=True)
    return _delete("vm.delete_tunnel", base_url, _routes.tunnel(vm_id, tunnel_key), gone)


# --- syncs: filesystems bound into a VM ------------------------------------------------------------------------------


def list_syncs(base_url: str, vm_id: str, query: Query) -> Call[ListSyncsResponse]:
    return _get("vm.list_syncs", base_url, _routes.bindings(vm_id), models.ListSyncsResponse, ("syncs",), query)


def create_sync(base_url: str, vm_id: str, request: SyncCreateRequest) -> Call[Sync]:
    return _create("vm.create_sync", base_url, _routes.bindings(vm_id), request, models.Sync, _SYNC)


def delete_sync(base_url: str, vm_id: str, sync_id: str) -> Call[DeleteSyncResponse]:
    gone = models.DeleteSyncResponse(deleted=True)
    return _delete("vm.delete_sync", base_url, _routes.binding(vm_id, sync_id), gone)


def resize(base_url: str, vm_id: str, request: ResizeRequest) -> Call[ResizeResponse]:
    return Call(
        "vm.resize",
        Request("POST", base_url, _routes.resize(vm_id), body=_codec.dumps(request)),
        acknowledging(models.ResizeResponse, "resized"),
        evidence=("resized", "vm_id"),
        acknowledged=True,
    )


# --- filesystems -----------------------------------------------------------------------------------------------------


def list_filesystems(base_url: str, query: Query) -> Call[ListFilesystemsResponse]:
    return _get(
        "list_filesystems", base_url, _routes.FILESYSTEMS, models.ListFilesystemsResponse, ("filesystems",), query
    )


def create_filesystem(base_url: str, request: FilesystemCreateRequest) -> Call[Filesystem]:
    return _create("create_filesystem", base_url, _routes.FILESYSTEMS, request, models.Filesystem, _FILESYSTEM)


def get_filesystem(base_url: str, filesystem_id: str) -> Call[Filesystem]:
    return _get("get_filesystem", base_url, _routes.filesystem(filesystem_id), models.Filesystem, _FILESYSTEM)


def delete_filesystem(base_url: str, filesystem_id: str) -> Call[DeleteFilesystemResponse]:
    gone = models.DeleteFilesystemResponse(deleted=True)
    return _delete("delete_filesystem", base_url, _routes.filesystem(filesystem_id), gone)


# --- the organisation's run list -------------------------------------------------------------------------------------


def list_org_runs(control_base_url: str, query: Query) -> Call[ListOrgRunsResponse]:
    return _get("list_runs", control_base_url, _routes.ORG_RUNS, models.ListOrgRunsResponse, ("rows",), query)


__all__ = [
    "create_filesystem",
    "create_session",
    "create_sync",
    "create_tunnel",
    "delete_filesystem",
    "delete_session",
    "delete_sync",
    "delete_tunnel",
    "get_filesystem",
    "get_session",
    "get_tunnel",
    "list_filesystems",
    "list_org_runs",
    "list_sessions",
    "list_syncs",
    "list_tunnels",
    "resize",
]
