"""Forking a VM, so that none is left which nobody knows: a fork that its caller gives up is found out and undone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs

from arker import _calls, _routes
from arker._attempts import Progress, deadline_scope
from arker._cleanup import end, make_or_undo
from arker.errors import ArkerError

if TYPE_CHECKING:
    from arker._ledger import Ledger
    from arker._transport import Transport
    from arker.models import DeleteVmResponse, ForkRequest, Vm

logger = logging.getLogger("arker")

CLEANUP_SECONDS: Final = 10.0
"""Bound on finding out what became of a fork that was given up, and on deleting its VM."""


class Forking:
    """One fork, from the request to a VM or to none.

    A caller that is cancelled, or whose deadline passes, gets no VM; so there must be none. What had not been sent is
    not sent any more. What had been sent is waited for, since only the answer has the VM's id, and the VM is deleted;
    the cancellation goes on when that has been done, after `CLEANUP_SECONDS` at the latest.
    """

    __slots__ = ("_call", "_name", "_progress", "_transport")

    def __init__(self, transport: Transport, request: ForkRequest, key: str) -> None:
        if request.source_vm_name in _routes.GOLDEN_NAMES and request.source_org_id is None:
            request = attrs.evolve(request, source_org_id=_routes.ARKER_ORG_ID)
        self._transport = transport
        self._call = _calls.fork(transport.settings.fork_base_url(request), request, key)
        self._progress = Progress(self._call.operation)
        self._name = request.name

    @property
    def base_url(self) -> str:
        """The base URL that the fork is posted to, and where its VM is (contract, section 2)."""
        return self._call.request.base_url

    async def send(self, deadline: float | None) -> Vm:
        """The new VM."""
        if deadline is None:
            return await self._send()
        with deadline_scope(deadline, self._progress):
            return await self._send()

    def _send(self) -> Coroutine[Any, Any, Vm]:
        if self._transport.ledger is not None:
            return make_or_undo(self._send_on_record(self._transport.ledger), self._undo)
        return make_or_undo(self._transport.send(self._call, progress=self._progress), self._undo)

    async def _send_on_record(self, ledger: Ledger) -> Vm:
        """Post it once it is written down, so that its VM is known even if this process is killed."""
        request = self._call.request
        await ledger.intend(request, self._name)
        try:
            vm = await self._transport.send(self._call, progress=self._progress)
        except ArkerError as error:
            if error.outcome == "not_started":
                ledger.forget(request)
            raise
        ledger.made(request, vm.vm_id)
        return vm

    async def _undo(self, task: asyncio.Task[Vm]) -> None:
        """See to it that there is no VM; if that cannot be known, say so in the log."""
        with self._transport.cleaning_up():
            await self._see_that_there_is_none(task)

    async def _see_that_there_is_none(self, task: asyncio.Task[Vm]) -> None:
        progress, ledger, request = self._progress, self._transport.ledger, self._call.request
        progress.abandoned = True
        if not task.done() and not progress.may_have_begun:
            await end(task)
            if ledger is not None:
                ledger.forget(request)
            return
        problem: str | ArkerError = f"no answer within {CLEANUP_SECONDS:g} s"
        with anyio.move_on_after(CLEANUP_SECONDS):
            try:
                vm = await self._outcome(task)
                if vm is not None:
                    await self._delete(vm.vm_id)
                    if ledger is not None:
                        ledger.undone(request)
                elif ledger is not None:
                    ledger.forget(request)
                progress.outcome, progress.in_flight = "not_started", False
                return
            except ArkerError as error:
                if error.outcome == "not_started":
                    return
                problem = error
        await end(task)
        logger.warning("a fork (key %s) was given up, and its VM may exist: %s", request.idempotency_key, problem)

    async def _outcome(self, task: asyncio.Task[Vm]) -> Vm | None:
        """The VM that was made, if any."""
        await asyncio.wait({task})
        if not task.cancelled():
            return task.result()
        # So does a loop that is being shut down: it cancels every task. By its key the server knows the fork again.
        if not self._progress.may_have_begun:
            return None
        return await self._transport.send(self._call)

    async def _delete(self, vm_id: str) -> None:
        try:
            await delete(self._transport, self._call.request.base_url, vm_id)
        except ArkerError as error:
            if error.status != 404:
                raise error.with_context(outcome="applied") from None


async def delete(transport: Transport, base_url: str, vm_id: str, *, deadline: float | None = None) -> DeleteVmResponse:
    """Delete a VM, and keep account of it."""
    ledger, call = transport.ledger, _calls.delete_vm(base_url, vm_id)
    if ledger is None:
        return await transport.send(call, deadline=deadline)
    try:
        result = await transport.send(call, deadline=deadline)
    except BaseException as error:
        if isinstance(error, ArkerError) and error.status == 404:
            ledger.let_go(vm_id, base_url)
        else:
            ledger.give_up(vm_id, base_url)
        raise
    ledger.let_go(vm_id, base_url)
    return result


__all__ = ["CLEANUP_SECONDS", "Forking", "delete"]
