"""The operations that only generation 1 has."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from arker.emulator.server.operation import BOOLEAN, OF_VM, PAGE, TEXT, VM, Operation, PublicOperation
from arker.emulator.server.operations import absent, filesystems, policies, service, terminals, vms

_ROWS: Final[tuple[Operation | PublicOperation, ...]] = (
    PublicOperation(
        name="health",
        id="health",
        method="GET",
        path="/v1/health",
        handler=service.health,
        summary="Say whether the server is ready",
        gives=("HealthResponse",),
    ),
    PublicOperation(
        name="list_regions",
        id="listRegions",
        method="GET",
        path="/v1/regions",
        handler=service.list_regions,
        summary="List the regions and their base URLs",
        gives=("ListRegionsResponse",),
    ),
    Operation(
        name="whoami",
        id="whoami",
        method="GET",
        path="/v1/whoami",
        handler=service.whoami,
        summary="Get the organisation that the API key belongs to",
        gives=("WhoamiResponse",),
    ),
    Operation(
        name="update_vm",
        id="patchVm",
        method="PATCH",
        path=VM,
        handler=vms.update_vm,
        summary="Change a VM's description, recorded size or policies, or make it immutable",
        takes=("PatchVmRequest",),
        gives=("Vm",),
        errors=(*OF_VM, 413),
    ),
    Operation(
        name="get_policies",
        id="getVmPolicies",
        method="GET",
        path=f"{VM}/policies",
        handler=policies.get_policies,
        summary="Get the policies of a VM in their former form",
        gives=("PolicyDoc",),
        errors=OF_VM,
    ),
    Operation(
        name="put_policies",
        id="putVmPolicies",
        method="PUT",
        path=f"{VM}/policies",
        handler=policies.put_policies,
        summary="Replace the policies of a VM, in their former form",
        takes=("PolicyWriteRequest",),
        gives=("PolicyDoc",),
        errors=(*OF_VM, 413),
    ),
    Operation(
        name="update_session",
        id="patchSession",
        method="PATCH",
        path=f"{VM}/sessions/{{session_id}}",
        handler=terminals.update_session,
        summary="Change the size of a session's terminal, or when it ends without a connection",
        takes=("PatchSessionRequest",),
        gives=("PatchSessionResponse",),
        errors=(*OF_VM, 413),
    ),
    Operation(
        name="create_pty_ticket",
        id="mintSessionPtyTicket",
        method="POST",
        path=f"{VM}/sessions/{{session_id}}/pty-ticket",
        handler=terminals.create_ticket,
        summary="Get a ticket for a session's terminal",
        takes=("PtyTicketRequest",),
        gives=("PtyTicketResponse",),
        errors=(*OF_VM, 413),
    ),
    Operation(
        name="attach_pty",
        id="attachSessionPty",
        method="GET",
        path=f"{VM}/sessions/{{session_id}}/pty",
        handler=terminals.attach,
        summary="Attach to a session's terminal by a WebSocket, and start it if need be",
        query={
            "cols": terminals.SIZE,
            "rows": terminals.SIZE,
            "command": TEXT,
            "persist": BOOLEAN,
            "cancel_ttl_secs": terminals.IDLE_SECONDS,
            "ticket": TEXT,
        },
        errors=(*OF_VM, 429),
        socket=True,
    ),
    Operation(
        name="list_mounts",
        id="listMounts",
        method="GET",
        path=f"{VM}/mounts",
        handler=filesystems.list_mounts,
        summary="List the filesystems that are mounted in a VM, newest first",
        gives=("ListMountsResponse",),
        query={**PAGE, "filesystem_id": TEXT},
        errors=OF_VM,
    ),
    Operation(
        name="create_mount",
        id="createMount",
        method="POST",
        path=f"{VM}/mounts",
        handler=filesystems.create_mount,
        summary="Mount a filesystem in a VM",
        takes=("MountCreateRequest",),
        gives=("Mount",),
        errors=(*OF_VM, 413),
    ),
    Operation(
        name="delete_mount",
        id="deleteMount",
        method="DELETE",
        path=f"{VM}/mounts/{{mount_id}}",
        handler=filesystems.delete_mount,
        summary="Take a filesystem out of a VM",
        gives=("DeleteMountResponse",),
        errors=OF_VM,
    ),
    *absent.OPERATIONS,
)

ADDED: Final[tuple[Operation | PublicOperation, ...]] = tuple([evolve(row, old=False) for row in _ROWS])

__all__ = ["ADDED"]
