"""The table of operations (contract, section 5), which the router and the OpenAPI document use."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from aiohttp import web
from attrs import field, frozen

from arker import models
from arker.emulator.server.backend import Backend
from arker.emulator.server.operations import files, filesystems, org_runs, runs, sessions, tunnels, vms
from arker.emulator.server.records import Organisation

Handler: TypeAlias = Callable[[Backend, Organisation, web.Request], Awaitable[web.StreamResponse]]
Schema: TypeAlias = Mapping[str, Any]


@frozen(kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: What the organisation's run list and the OpenAPI document call it.
        path: Its path below the base URL; parts that vary stand in braces.
        summary: What it does, in a few words.
        takes: The shapes that its body may have; none for an operation without a body.
        gives: The shapes that its reply may have.
        query: The schemas of its query parameters.
        errors: The statuses of its errors, beside those that every operation can have.
        keyed: Whether it heeds an ``Idempotency-Key``.
    """

    name: str
    method: str
    path: str
    handler: Handler
    summary: str
    takes: tuple[type, ...] = ()
    gives: tuple[type, ...]
    query: Mapping[str, Schema] = field(factory=dict[str, Schema])
    errors: tuple[int, ...] = ()
    keyed: bool = False

    @property
    def pattern(self) -> str:
        """The path in the form that aiohttp's router takes."""
        return re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", self.path)


def _several(*values: str) -> Schema:
    """Return the schema of one or more of these values, joined by commas."""
    one = "|".join(values)
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}


_TEXT: Final[Schema] = {"type": "string"}
_LIST: Final[Schema] = {"type": "string", "pattern": "^[^,\\s]+(,[^,\\s]+)*$"}
_INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999}
_LIMIT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 999_999_999, "default": 50}
_STATUS: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 999}
_PAGE: Final[Mapping[str, Schema]] = {"cursor": _TEXT, "limit": _LIMIT}
_VM: Final = "/v1/vms/{vm_id}"
_OF_VM: Final = (403, 404, 422)
"""There is no such VM, it is a golden, or it is a golden that the embedded backend does not have."""

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="run",
        method="POST",
        path=f"{_VM}/runs",
        handler=runs.start_run,
        summary="Run a command in a VM, in the foreground or in the background",
        takes=(models.RunRequest,),
        gives=(models.CompletedRunResult, models.BackgroundRunResult),
        errors=(*_OF_VM, 409, 413),
        keyed=True,
    ),
    Operation(
        name="list_runs",
        method="GET",
        path=f"{_VM}/runs",
        handler=runs.list_runs,
        summary="List the runs of a VM, newest first",
        gives=(models.ListRunsResponse,),
        query={
            **_PAGE,
            "state": _several("running", "completed", "failed", "cancelled"),
            "started_after": _INSTANT,
            "started_before": _INSTANT,
            "completed_after": _INSTANT,
        },
        errors=_OF_VM,
    ),
    Operation(
        name="get_run",
        method="GET",
        path=f"{_VM}/runs/{{run_id}}",
        handler=runs.get_run,
        summary="Get a run with its output so far",
        gives=(models.Run,),
        errors=_OF_VM,
    ),
    Operation(
        name="cancel_run",
        method="DELETE",
        path=f"{_VM}/runs/{{run_id}}",
        handler=runs.cancel_run,
        summary="Cancel a run; one that has ended already says `cancelled: false`",
        gives=(models.CancelRunResponse,),
        errors=_OF_VM,
    ),
    Operation(
        name="sync",
        method="POST",
        path=f"{_VM}/sync",
        handler=files.sync,
        summary="Read a file of a VM, or write some",
        takes=(models.SyncReadRequest, models.SyncWriteRequest),
        gives=(models.SyncReadInlineResponse, models.SyncReadPresignedResponse, models.SyncWriteResponse),
        errors=(*_OF_VM, 413),
    ),
    Operation(
        name="get_vm",
        method="GET",
        path=_VM,
        handler=vms.get_vm,
        summary="Get a VM",
        gives=(models.Vm,),
        errors=(404, 422),
    ),
    Operation(
        name="delete_vm",
        method="DELETE",
        path=_VM,
        handler=vms.delete_vm,
        summary="Delete a VM, its processes and its files",
        gives=(models.DeleteVmResponse,),
        errors=_OF_VM,
    ),
    Operation(
        name="fork",
        method="POST",
        path="/v1/fork",
        handler=vms.fork,
        summary="Fork a VM or a public golden",
        takes=(models.ForkRequest,),
        gives=(models.Vm,),
        errors=(404, 409, 413, 422),
        keyed=True,
    ),
    Operation(
        name="list_vms",
        method="GET",
        path="/v1/vms",
        handler=vms.list_vms,
        summary="List VMs, newest first",
        gives=(models.ListVmsResponse,),
        query={
            **_PAGE,
            "region": _LIST,
            "provider": _LIST,
            "state": _several("idle", "running"),
            "source_org_id": _LIST,
            "started_after": _INSTANT,
            "started_before": _INSTANT,
        },
    ),
    Operation(
        name="resize",
        method="POST",
        path=f"{_VM}/resize",
        handler=vms.resize,
        summary="Change the recorded size of a VM",
        takes=(models.ResizeRequest,),
        gives=(models.ResizeResponse,),
        errors=(*_OF_VM, 413),
    ),
    Operation(
        name="list_sessions",
        method="GET",
        path=f"{_VM}/sessions",
        handler=sessions.list_sessions,
        summary="List the sessions of a VM, newest first",
        gives=(models.ListSessionsResponse,),
        query={**_PAGE, "state": _several("idle", "running")},
        errors=_OF_VM,
    ),
    Operation(
        name="create_session",
        method="POST",
        path=f"{_VM}/sessions",
        handler=sessions.create_session,
        summary="Open a session of a VM",
        takes=(models.CreateSessionRequest,),
        gives=(models.Session,),
        errors=(*_OF_VM, 413),
    ),
    Operation(
        name="get_session",
        method="GET",
        path=f"{_VM}/sessions/{{session_id}}",
        handler=sessions.get_session,
        summary="Get a session",
        gives=(models.Session,),
        errors=_OF_VM,
    ),
    Operation(
        name="delete_session",
        method="DELETE",
        path=f"{_VM}/sessions/{{session_id}}",
        handler=sessions.delete_session,
        summary="Close a session and stop what runs in it; the default one cannot be closed",
        gives=(models.DeleteSessionResponse,),
        errors=(*_OF_VM, 409),
    ),
    Operation(
        name="list_tunnels",
        method="GET",
        path=f"{_VM}/tunnels",
        handler=tunnels.list_tunnels,
        summary="List the tunnels of a VM, newest first",
        gives=(models.ListTunnelsResponse,),
        query={**_PAGE, "state": _several("starting", "open", "closed")},
        errors=_OF_VM,
    ),
    Operation(
        name="create_tunnel",
        method="POST",
        path=f"{_VM}/tunnels",
        handler=tunnels.create_tunnel,
        summary="Open a tunnel to a port of a VM",
        takes=(models.TunnelRequest,),
        gives=(models.Tunnel,),
        errors=(*_OF_VM, 409, 413),
    ),
    Operation(
        name="get_tunnel",
        method="GET",
        path=f"{_VM}/tunnels/{{tunnel_key}}",
        handler=tunnels.get_tunnel,
        summary="Get a tunnel",
        gives=(models.Tunnel,),
        errors=_OF_VM,
    ),
    Operation(
        name="delete_tunnel",
        method="DELETE",
        path=f"{_VM}/tunnels/{{tunnel_key}}",
        handler=tunnels.delete_tunnel,
        summary="Close a tunnel",
        gives=(models.DeleteTunnelResponse,),
        errors=_OF_VM,
    ),
    Operation(
        name="list_syncs",
        method="GET",
        path=f"{_VM}/syncs",
        handler=filesystems.list_syncs,
        summary="List the filesystems that are bound into a VM, newest first",
        gives=(models.ListSyncsResponse,),
        query={**_PAGE, "filesystem_id": _TEXT},
        errors=_OF_VM,
    ),
    Operation(
        name="create_sync",
        method="POST",
        path=f"{_VM}/syncs",
        handler=filesystems.create_sync,
        summary="Bind a filesystem into a VM",
        takes=(models.SyncCreateRequest,),
        gives=(models.Sync,),
        errors=(*_OF_VM, 409, 413),
    ),
    Operation(
        name="delete_sync",
        method="DELETE",
        path=f"{_VM}/syncs/{{sync_id}}",
        handler=filesystems.delete_sync,
        summary="Take a filesystem out of a VM",
        gives=(models.DeleteSyncResponse,),
        errors=(*_OF_VM, 409),
    ),
    Operation(
        name="list_filesystems",
        method="GET",
        path="/v1/filesystems",
        handler=filesystems.list_filesystems,
        summary="List filesystems, newest first",
        gives=(models.ListFilesystemsResponse,),
        query={**_PAGE, "name_prefix": _TEXT},
    ),
    Operation(
        name="create_filesystem",
        method="POST",
        path="/v1/filesystems",
        handler=filesystems.create_filesystem,
        summary="Make a filesystem",
        takes=(models.FilesystemCreateRequest,),
        gives=(models.Filesystem,),
        errors=(409, 413),
    ),
    Operation(
        name="get_filesystem",
        method="GET",
        path="/v1/filesystems/{filesystem_id}",
        handler=filesystems.get_filesystem,
        summary="Get a filesystem",
        gives=(models.Filesystem,),
        errors=(404,),
    ),
    Operation(
        name="delete_filesystem",
        method="DELETE",
        path="/v1/filesystems/{filesystem_id}",
        handler=filesystems.delete_filesystem,
        summary="Delete a filesystem and its files",
        gives=(models.DeleteFilesystemResponse,),
        errors=(404, 409),
    ),
    Operation(
        name="list_org_runs",
        method="GET",
        path="/v1/runs",
        handler=org_runs.list_org_runs,
        summary="List the organisation's requests and what they did",
        gives=(models.ListOrgRunsResponse,),
        query={
            "since": _NUMBER,
            "until": _NUMBER,
            "vm": _TEXT,
            "vms": _LIST,
            "region": _TEXT,
            "provider": _TEXT,
            "source": _TEXT,
            "search": _TEXT,
            "limit": _LIMIT,
            "offset": _NUMBER,
            "lite": {"type": "boolean"},
            "runtime": _TEXT,
            "endpoint": _TEXT,
            "actions": _LIST,
            "status": _STATUS,
            "status_min": _STATUS,
            "status_max": _STATUS,
            "sort": {"type": "string", "enum": list(org_runs.SORTABLE)},
            "dir": {"type": "string", "enum": ["asc", "desc"]},
        },
    ),
)


__all__ = ["OPERATIONS", "Handler", "Operation", "Schema"]
