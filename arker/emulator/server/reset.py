"""The reset of the server, which goes on answering meanwhile.

The records change at one moment (`Backend.begin_anew`): what comes after it is served from empty ones, and what is
under way finds nothing, or is refused with 503 ``unavailable``. Then everything that the old records stand for is
removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

from attrs import frozen

from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError
from arker.emulator.server.operations import execution, terminals, tunnels, uploads
from arker.emulator.server.records import FilesystemRecord, Organisation, VmRecord


@frozen(kw_only=True)
class Removed:
    """The number of removed records of each kind."""

    vms: int
    filesystems: int


async def reset(backend: Backend) -> Removed:
    """Delete everything of every organisation. Nothing of it is left when this returns.

    Raises:
        ServiceError: ``internal``: something could not be removed.
    """
    async with backend.resetting:
        backend.keeper.forget_all()
        ended = backend.begin_anew()
        vms = [vm for org in ended for vm in org.vms.values()]
        for vm in vms:
            vm.deleted = True  # nothing of it is recorded any more
        filesystems = [filesystem for org in ended for filesystem in org.filesystems.values()]
        for org in ended:
            org.vms.clear()
            org.names.clear()
            org.filesystems.clear()
        await _all(_remove_vm(backend, vm) for vm in vms)
        await _all(_settled(org) for org in ended)
        # A VM in creation or removal may have held one of them until now.
        await _all(_remove_filesystem(filesystem) for filesystem in filesystems)
        return Removed(vms=len(vms), filesystems=len(filesystems))


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Run all of the work, even if some of it fails."""
    errors = [outcome for outcome in await asyncio.gather(*work, return_exceptions=True) if outcome is not None]
    for error in errors:
        logger.error("a reset was not complete", exc_info=error)
    if errors:
        raise ServiceError("internal", f"the reset was not complete: {errors[0]}")


async def _settled(org: Organisation) -> None:
    while org.changes:
        org.quiet.clear()
        await org.quiet.wait()


async def _remove_vm(backend: Backend, vm: VmRecord) -> None:
    vm.deleted = True
    tunnels.close_all(vm)
    terminals.discard_all(vm, "the VM was deleted")
    going = [run for run in vm.runs.values() if not run.done.is_set()]
    for run in reversed(going):  # those in the queue first, or one of them would start
        execution.condemn(backend, run, "reset")
    try:
        # All processes at once, not run by run.
        await asyncio.gather(vm.sandbox.delete(), uploads.discard_all(vm))
    finally:
        await execution.discard_runs(vm)


async def _remove_filesystem(filesystem: FilesystemRecord) -> None:
    if not filesystem.deleted:
        filesystem.deleted = True
        await filesystem.volume.remove()


__all__ = ["Removed", "reset"]
