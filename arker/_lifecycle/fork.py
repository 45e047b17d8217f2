"""Forks of VMs without leaks: a fork whose caller gives up is found and undone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

import attrs

from arker._basics import names
from arker._basics.moments import has_fraction, timestamp_of
from arker._lifecycle.undoing import undo
from arker._protocol.address import Address
from arker._protocol.calls import vms as vm_calls
from arker._protocol.forms import SET_TO_1, unsupported
from arker._tasks import clock
from arker._tasks.cleanup import CLEANUP_SECONDS, make_or_undo
from arker._transport.attempts import Progress, deadline_scope
from arker._transport.generations import may_be_of_the_form
from arker.errors import ApiError, ArkerError, BadReplyError, ConfigurationError, InternalError, NotFoundError
from arker.errors.api import is_gone, is_surely_gone

if TYPE_CHECKING:
    from arker._context import Context, Place
    from arker._ledger.ledger import Ledger
    from arker._protocol.request import Request
    from arker.models import DeleteVmResponse, ForkRequest, Vm

logger = logging.getLogger("arker")

_CLOCKS_APART: Final = 60.0
"""Seconds by which a server's clock may be ahead of one that is right, too."""


class Forking:
    """One fork, from the request to its VM or to none.

    A caller that is cancelled, or whose deadline passes, gets no VM, so none may stay. An unsent request is not sent. A
    sent one is awaited, since only the reply has the VM's id, and the VM is deleted. The cancellation goes on
    afterwards, after `CLEANUP_SECONDS` at the latest.

    An unreadable reply leaks no VM either. The id is read before anything else in the reply, and written down. Only a
    fork whose reply names no id is posted again, once, with its key; if that does not help, it stays in the ledger as
    an answered one, and `AsyncArker.reap` reports it.
    """

    __slots__ = ("_by_name", "_call", "_context", "_found", "_name", "_progress", "doubt")

    def __repr__(self) -> str:
        return f"a fork (key {self._call.request.idempotency_key})"

    def __init__(self, context: Context, request: ForkRequest, key: str) -> None:
        org_id = names.organisation_of(request.source_vm_name, request.source_org_id, request.source_org_name)
        if org_id != request.source_org_id:
            request = attrs.evolve(request, source_org_id=org_id)
        self._context = context
        self._found = found = _Found(context.ledger)
        self._call = vm_calls.fork(context.settings.fork_base_url(request), request, key, found)
        found.request = self._call.request
        self.doubt: ArkerError | None = None
        """The reason why a VM may exist although the fork was given up."""
        self._progress = Progress(self._call.operation, makes=True)
        self._name, self._by_name = request.name, request.source_vm_name

    @property
    def base_url(self) -> str:
        """The base URL that the fork is posted to and its VM is at (contract, section 2)."""
        return self._call.request.base_url

    def send(self, deadline: float | None) -> Coroutine[Any, Any, Vm]:
        """Post the fork, and return the new VM."""
        # No coroutine around the coroutine: hundreds of forks may run at once.
        return self._send() if deadline is None else self._send_within(deadline)

    async def _send_within(self, deadline: float) -> Vm:
        with deadline_scope(deadline, self._progress):
            return await self._send()

    def _send(self) -> Coroutine[Any, Any, Vm]:
        return make_or_undo(self._make(), self._undo)

    async def _make(self) -> Vm:
        blocks, ledger = self._context.blocks, self._context.ledger
        if blocks.closing:
            await blocks.refuse()
        blocks.forks.add(self)
        try:
            vm = await self._in_form(ledger)
            if vm.resources is not None:
                self._context.generations.learn(self.base_url, "1")
            if not blocks.closing:
                return vm
            # The caller could not use it any more.
            self._progress.outcome = "applied"
            if await self._give_back(vm.vm_id):
                self._progress.outcome = "not_started"
        except NotFoundError as error:
            name = self._by_name
            if name is not None and names.looks_like_id(name):
                error.message += "; a VM's id is given as source_vm_id=, or by a handle, as in fork(ar.vm(id))"
            elif name is not None and (advice := names.meant(name, image="image=")) is not None:
                error.message += f"; {advice}"
            raise
        finally:
            blocks.forks.discard(self)
        raise self._progress.complete(
            ConfigurationError("the client was closed while it forked", vm_id=self._context.redact(vm.vm_id))
        )

    def _in_form(self, ledger: Ledger | None) -> Coroutine[Any, Any, Vm]:
        """Post the fork in the form of its server's generation."""
        # No coroutine around the coroutine, here and below: each is one more for the garbage collector.
        both = self._call.lack is None and self._call.earlier is None
        return self._post(ledger) if both else self._post_in_one_form(ledger)

    async def _post_in_one_form(self, ledger: Ledger | None) -> Vm:
        """Post the fork in the form of its server's generation, and once in the other one if that is not known."""
        generations = self._context.generations
        self._call, other = await generations.forms(self._call)
        try:
            vm = await self._post_once(ledger)
        except ApiError as error:
            if other is None or not may_be_of_the_form(error):
                raise
            refusal = error
        else:
            if other is not None:
                # Every VM of generation 1 has them: an older server may have ignored a part of the request.
                generations.learn(self.base_url, "0.5" if vm.resources is None else "1")
                if vm.resources is None:
                    raise await self._undone(vm, unsupported(SET_TO_1, self._call.operation))
            return vm
        assert other is not None
        self._call = other
        try:
            vm = await self._post_once(ledger)
        except ApiError:
            try:
                raise refusal from None  # it is not the form
            finally:
                del refusal  # its traceback has this frame
        generations.learn(self.base_url, "0.5")
        return vm

    async def _post_once(self, ledger: Ledger | None) -> Vm:
        vm = await self._post(ledger)
        if vm.resources is None and self._call.lack is not None:
            try:
                await self._context.generations.confirm(self._call)
            except ApiError as error:
                raise await self._undone(vm, error) from None
        return vm

    async def _undone(self, vm: Vm, error: ApiError) -> ApiError:
        """Delete a VM that lacks what was asked for, such as a blocked network, and return the error for it."""
        self._progress.outcome = "applied"
        if await self._give_back(vm.vm_id):
            self._progress.outcome = "not_started"
        return self._progress.complete(error).with_context(vm_id=self._context.redact(vm.vm_id))

    def _send_call(self, progress: Progress) -> Coroutine[Any, Any, Vm]:
        if self._call.lack is None:
            return self._context.transport.send(self._call, progress=progress)
        return self._context.generations.deliver(self._call, progress)

    async def _post(self, ledger: Ledger | None) -> Vm:
        """Write the fork to the ledger, then post it, so that its VM is known even if this process is killed."""
        request = self._call.request
        if ledger is not None:
            await ledger.intend(request, self._name)
        try:
            if ledger is not None and self._context.blocks.closing:
                await self._context.blocks.refuse()
            try:
                return await self._send_call(self._progress)
            except BadReplyError as error:
                if not 200 <= error.status < 300:
                    raise
                if self._found.vm_id is not None:
                    await self._give_back(self._found.vm_id)
                    raise
            return await self._post_again(ledger)
        except ArkerError as error:
            if ledger is None:
                raise
            if error.outcome == "not_started":
                ledger.forget(request)
            elif error.vm_id is not None and self._found.vm_id is None:
                ledger.made(request, error.vm_id)  # an error may name a VM that is there
            raise

    async def _post_again(self, ledger: Ledger | None) -> Vm:
        """Post the fork again, since its reply names no VM."""
        if ledger is not None:
            ledger.answered(self._call.request)
        again = clock.wall()
        try:
            vm = await self._send_call(self._progress)
        except BadReplyError:
            if self._found.vm_id is not None:
                await self._give_back(self._found.vm_id)
            raise
        if was_made_since(vm.created_at, again):
            logger.warning(
                "a fork was asked for twice, and its server does not know its key: a VM may exist (%r)", self
            )
        return vm

    async def _give_back(self, vm_id: str) -> bool:
        """Delete a VM whose handle is not returned, and return whether it is gone."""
        problem: str | ArkerError = "the server says that it was not deleted"
        try:
            answer = await delete(self._context, self._call.request.base_url, vm_id, deadline=CLEANUP_SECONDS)
            if answer.deleted:
                return True
        except ArkerError as error:
            if is_surely_gone(error):
                return True
            problem = error
        logger.warning("VM %s of a fork that failed may still exist: %s", self._context.redact(vm_id), problem)
        return False

    async def _undo(self, task: asyncio.Task[Vm]) -> None:
        """Delete the VM of the fork; log a warning if it may still exist."""
        with self._context.cleaning_up():
            await self._undo_on_record(task)

    async def _undo_on_record(self, task: asyncio.Task[Vm]) -> None:
        progress, ledger, request = self._progress, self._context.ledger, self._call.request
        sent = task.done() or progress.may_have_begun

        async def removed() -> None:
            vm = await self._outcome(task)
            if vm is not None:
                await self._delete(vm.vm_id)
                if ledger is not None:
                    ledger.undone(request)
            elif ledger is not None:
                ledger.forget(request)

        problem = await undo(task, progress, remove=removed, what=self._left)
        if not sent and ledger is not None:
            ledger.forget(request)
        if problem is not None:
            logger.warning("a fork (key %s) was given up, and its VM may exist: %s", request.idempotency_key, problem)
            vm_id = None if self._found.vm_id is None else self._context.redact(self._found.vm_id)
            doubt = ArkerError(f"the fork was given up, and its VM may exist: {problem}", vm_id=vm_id)
            self.doubt = progress.complete(doubt).with_context(outcome="unknown")

    def _left(self) -> str:
        known = "" if self._found.vm_id is None else f" of VM {self._context.redact(self._found.vm_id)}"
        return f"a fork{known} (key {self._call.request.idempotency_key})"

    async def _outcome(self, task: asyncio.Task[Vm]) -> Vm | None:
        """Return the VM that was made, if any."""
        await asyncio.wait({task})
        if not task.cancelled():
            return task.result()
        # A loop that is being shut down cancels every task. The server recognizes the fork by its key.
        if not self._progress.may_have_begun:
            return None
        again = Progress(self._call.operation, outcome="unknown", makes=True)
        return await self._send_call(again)

    async def _delete(self, vm_id: str) -> None:
        try:
            answer = await delete(self._context, self._call.request.base_url, vm_id)
        except ArkerError as error:
            if not is_surely_gone(error):
                raise error.with_context(outcome="applied") from None
        else:
            if not answer.deleted:
                raise InternalError("the server says that the VM was not deleted", outcome="applied", vm_id=vm_id)


class _Found:
    """The id of a fork's VM, noted in the reply before the rest of it is read.

    It knows nothing of the fork: the fork has the call, and the call this, so that together they would be garbage that
    only the garbage collector removes.

    Attributes:
        vm_id: The id, once known.
        request: The fork's request, of whatever form.
    """

    __slots__ = ("_ledger", "request", "vm_id")

    def __init__(self, ledger: Ledger | None) -> None:
        self._ledger = ledger
        self.vm_id: str | None = None
        self.request: Request | None = None

    def __call__(self, vm_id: str) -> None:
        self.vm_id = vm_id
        if self._ledger is not None and self.request is not None:
            self._ledger.made(self.request, vm_id)


def was_made_since(created_at: str | None, moment: float) -> bool:
    """Return whether a VM was made since a moment, by its server's clock.

    By a clock that is far ahead every VM would seem so: a time that is still to come proves nothing.
    """
    made = timestamp_of(created_at)
    if created_at is None or made is None:
        return False
    if not has_fraction(created_at):
        moment //= 1  # it may have been made at any moment of its second
    return moment <= made <= clock.wall() + _CLOCKS_APART


async def delete_or_raise(place: Place, *, deadline: float | None) -> None:
    """Delete a VM. A VM that is already gone counts as deleted.

    Raises:
        ArkerError: It may still be there.
    """
    try:
        answer = await delete(place.context, place.base_url, place.vm_id, deadline=deadline)
    except ArkerError as error:
        if not is_gone(error):
            raise
        if not is_surely_gone(error):
            logger.warning("VM %s may still exist, since only a proxy says that it does not: %s", place.vm_id, error)
        return
    if not answer.deleted:
        raise InternalError("the server says that the VM was not deleted", operation="vm.delete", vm_id=place.vm_id)


async def delete(context: Context, base_url: str, vm_id: str, *, deadline: float | None = None) -> DeleteVmResponse:
    """Delete a VM, and update the ledger."""
    ledger, call = context.ledger, vm_calls.delete_vm(Address(base_url, vm_id))
    context.forget_kept(base_url, vm_id)
    try:
        result = await context.send(call, deadline=deadline)
    except BaseException as error:
        if is_surely_gone(error):
            forget_end(context, base_url, vm_id)
        if ledger is None:
            raise
        # A proxy's page that says "not found" does not prove that the VM is gone.
        if is_surely_gone(error):
            ledger.let_go(vm_id, base_url)
        elif context.transport.closed:
            ledger.left(vm_id, base_url)
        else:
            ledger.give_up(vm_id, base_url)
        raise
    if result.deleted:
        forget_end(context, base_url, vm_id)
    if ledger is not None:
        (ledger.let_go if result.deleted else ledger.give_up)(vm_id, base_url)
    return result


def forget_end(context: Context, base_url: str, vm_id: str) -> None:
    """Forget the time at which a VM was to be deleted."""
    timer = context.lifetimes.pop((base_url, vm_id), None)
    if timer is not None:
        timer.cancel()


__all__ = ["Forking", "delete", "delete_or_raise", "forget_end", "was_made_since"]
