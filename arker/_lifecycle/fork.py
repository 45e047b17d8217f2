"""Forking a VM, so that none is left which nobody knows: a fork that its caller gives up is found out and undone."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Coroutine
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs

from arker._basics import names
from arker._protocol.calls import vms as vm_calls
from arker._protocol.request import Address
from arker._tasks.cleanup import CLEANUP_SECONDS, end, make_or_undo
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import ArkerError, BadReplyError, ConfigurationError, InternalError, NotFoundError, is_gone

if TYPE_CHECKING:
    from arker._context import Context, Place
    from arker._ledger.ledger import Ledger
    from arker.models import DeleteVmResponse, ForkRequest, Vm

logger = logging.getLogger("arker")


class Forking:
    """One fork, from the request to a VM or to none.

    A caller that is cancelled, or whose deadline passes, gets no VM; so there must be none. What had not been sent is
    not sent any more. What had been sent is waited for, since only the answer has the VM's id, and the VM is deleted;
    the cancellation goes on when that has been done, after `CLEANUP_SECONDS` at the latest.

    A reply that cannot be read costs no VM either. Its id is looked for before anything else of it is read, and written
    down. Only a fork whose reply names no id is posted again, once, with its key; if that does not help, it stays in
    the ledger as one that has been answered, and `AsyncArker.reap` tells of it.
    """

    __slots__ = ("_call", "_context", "_name", "_progress", "_vm_id")

    def __repr__(self) -> str:
        return f"a fork (key {self._call.request.idempotency_key})"

    def __init__(self, context: Context, request: ForkRequest, key: str) -> None:
        if request.source_vm_name in names.GOLDEN_NAMES and request.source_org_id is None:
            request = attrs.evolve(request, source_org_id=names.ARKER_ORG_ID)
        self._context = context
        self._call = vm_calls.fork(context.settings.fork_base_url(request), request, key, self._found)
        self._vm_id: str | None = None
        self._progress = Progress(self._call.operation, makes=True)
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
        return make_or_undo(self._make(), self._undo)

    async def _make(self) -> Vm:
        blocks, ledger = self._context.blocks, self._context.ledger
        blocks.refuse()
        blocks.forks.add(self)
        try:
            vm = await (self._post() if ledger is None else self._post_on_record(ledger))
            if not blocks.closing:
                return vm
            # Its block, if it is to have one, would find the client closed.
            self._progress.outcome = "applied"
            if await self._give_back(vm.vm_id):
                self._progress.outcome = "not_started"
        finally:
            blocks.forks.discard(self)
        error = self._progress.complete(ConfigurationError("the client was closed while it forked"))
        raise error.with_context(vm_id=self._context.redact(vm.vm_id))

    def _found(self, vm_id: str) -> None:
        """Note the id that a reply names, before the rest of it is read."""
        self._vm_id = vm_id
        if self._context.ledger is not None:
            self._context.ledger.made(self._call.request, vm_id)

    async def _post(self) -> Vm:
        try:
            return await self._context.send(self._call, progress=self._progress)
        except BadReplyError as error:
            if not 200 <= error.status < 300:
                raise
            if self._vm_id is not None:
                await self._give_back(self._vm_id)
                raise
        if self._context.ledger is not None:
            self._context.ledger.answered(self._call.request)
        again = time.time()
        try:
            vm = await self._context.send(self._call, progress=self._progress)
        except BadReplyError:
            if self._vm_id is not None:
                await self._give_back(self._vm_id)
            raise
        if was_made_since(vm.created_at, again):
            logger.warning(
                "a fork was asked for twice, and its server does not know its key: a VM may exist (%r)", self
            )
        return vm

    async def _give_back(self, vm_id: str) -> bool:
        """Delete a VM of which no handle is given, and say whether it is gone."""
        problem: str | ArkerError = "the server says that it was not deleted"
        try:
            answer = await delete(self._context, self._call.request.base_url, vm_id, deadline=CLEANUP_SECONDS)
            if answer.deleted:
                return True
        except ArkerError as error:
            if is_gone(error):
                return True
            problem = error
        logger.warning("VM %s of a fork that failed may still exist: %s", self._context.redact(vm_id), problem)
        return False

    async def _post_on_record(self, ledger: Ledger) -> Vm:
        """Post it once it is written down, so that its VM is known even if this process is killed."""
        request = self._call.request
        await ledger.intend(request, self._name)
        try:
            self._context.blocks.refuse()
            return await self._post()
        except ArkerError as error:
            if error.outcome == "not_started":
                ledger.forget(request)
            elif error.vm_id is not None and self._vm_id is None:
                ledger.made(request, error.vm_id)  # an error may name a VM that is there
            raise

    async def _undo(self, task: asyncio.Task[Vm]) -> None:
        """See to it that there is no VM; if that cannot be known, say so in the log."""
        with self._context.cleaning_up():
            await self._see_that_there_is_none(task)

    async def _see_that_there_is_none(self, task: asyncio.Task[Vm]) -> None:
        progress, ledger, request = self._progress, self._context.ledger, self._call.request
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
        again = Progress(self._call.operation, outcome="unknown", makes=True)
        return await self._context.send(self._call, progress=again)

    async def _delete(self, vm_id: str) -> None:
        try:
            await delete(self._context, self._call.request.base_url, vm_id)
        except ArkerError as error:
            if not is_gone(error):
                raise error.with_context(outcome="applied") from None


def was_made_since(created_at: str | None, moment: float) -> bool:
    """Whether a VM was made since a moment, as far as its server's clock tells."""
    if created_at is None:
        return False
    try:
        # Python 3.10 knows no "Z", and no other number of digits than three or six.
        made = datetime.fromisoformat(_FRACTION.sub("", created_at).replace("Z", "+00:00"))
    except ValueError:
        return False
    if made.tzinfo is None:
        made = made.replace(tzinfo=timezone.utc)
    fraction = _FRACTION.search(created_at)
    return made.timestamp() + (float(fraction[0]) if fraction else 0.0) >= moment


_FRACTION: Final = re.compile(r"\.[0-9]+")


async def delete_or_raise(place: Place, *, deadline: float | None) -> None:
    """Delete a VM; that it is not there any more is what was wanted.

    Raises:
        ArkerError: It may still be there.
    """
    try:
        answer = await delete(place.context, place.base_url, place.vm_id, deadline=deadline)
    except ArkerError as error:
        if is_gone(error):
            return
        raise
    if not answer.deleted:
        raise InternalError(
            "the server says that the VM was not deleted", status=200, operation="vm.delete", vm_id=place.vm_id
        )


async def delete(context: Context, base_url: str, vm_id: str, *, deadline: float | None = None) -> DeleteVmResponse:
    """Delete a VM, and keep account of it."""
    ledger, call = context.ledger, vm_calls.delete_vm(Address(base_url, vm_id))
    if ledger is None:
        return await context.send(call, deadline=deadline)
    try:
        result = await context.send(call, deadline=deadline)
    except BaseException as error:
        # That a page of a proxy says "not found" does not prove that the VM has gone.
        if isinstance(error, NotFoundError) and error.from_service:
            ledger.let_go(vm_id, base_url)
        elif context.transport.closed:
            ledger.left(vm_id, base_url)
        else:
            ledger.give_up(vm_id, base_url)
        raise
    if result.deleted:
        ledger.let_go(vm_id, base_url)
    else:
        ledger.give_up(vm_id, base_url)
    return result


__all__ = ["Forking", "delete", "delete_or_raise", "was_made_since"]
