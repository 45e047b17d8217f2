"""The VMs of a fleet: forked by a policy, lent to one item at a time, replaced, and all deleted at the end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs

from arker._fleets import nesting
from arker._fleets.count import Count
from arker._fleets.left import named
from arker._fleets.loans import Loans
from arker._fleets.plan import Plan
from arker._fleets.schedule import is_hopeless, may_pass
from arker._fleets.staggered_workers import StaggeredWorkers
from arker._lifecycle.fork import delete_or_raise
from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS
from arker._tasks.running_loop import running_loop
from arker._vm.base import place_of
from arker.errors import ArkerError, DeadlineExceededError, FleetError
from arker.reports import FleetOperation, FleetProgress
from arker.vm import AsyncVM, fork

if TYPE_CHECKING:
    from arker._context import Context

logger = logging.getLogger("arker")

LONGEST_CLEANUP: Final = 60.0
"""Seconds; bound on the deletion of a fleet; `CLEANUP_SECONDS` is the bound on its time without progress."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 2.0
_SHARE: Final = 0.25
"""The part of the time that a second signal leaves in which what goes on may end; the rest is for the deletion."""
_INSISTENCE: Final = 3
"""How often the end of a fleet is restarted when it is cancelled itself."""


class Pool:
    """The VMs of one fleet.

    Attributes:
        members: The live VMs, in the order of their forks.
        loans: Which of them functions have, and which functions wait for another one.
        failures: The errors of failed forks.
        doubts: The reasons why cancelled forks may have left VMs.
        closed: Whether the fleet is closed.
        tasks: The tasks that end with the fleet at the latest.
    """

    def __init__(self, context: Context, plan: Plan) -> None:
        self.context = context
        self.plan = plan
        self.members: dict[AsyncVM, None] = {}
        self.failures: list[ArkerError] = []
        self.doubts: list[ArkerError] = []
        self.closed = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self._idle: deque[AsyncVM] = deque()
        self._waiting: deque[asyncio.Future[AsyncVM]] = deque()
        self.loans = Loans()
        self._replacing = 0
        self._last_number = -1
        self._interrupted: set[AsyncVM] = set()
        self._doomed: dict[AsyncVM, ArkerError | None] = {}
        """VMs that have left the fleet but may still exist, and the errors of their deletion."""

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that ends with the fleet at the latest."""
        task = running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the waiter has it; otherwise the loop reports it as never retrieved

    def count(
        self, operation: FleetOperation, total: int | None, progress: Callable[[FleetProgress], object] | None
    ) -> Count:
        """Begin to count the finished items of an operation."""
        return Count(self.members, self.context.observer, operation, total, progress)

    # --- forking ------------------------------------------------------------------------------------------------

    async def fill(self) -> None:
        """Fork the VMs.

        Raises:
            FleetError: So many forks failed that the smallest acceptable number of VMs cannot be reached.
            DeadlineExceededError: The deadline passed before that number was reached.
        """
        plan = self.plan
        count = self.count("fork_many", plan.count, plan.progress)
        loop, todo = running_loop(), iter(range(plan.count))
        staggered = StaggeredWorkers(
            lambda: loop.create_task(self._fork_some(todo, count)),
            min(plan.count, plan.max_concurrency),
            places=self.context.places_now,
            among=self.tasks,
        )
        try:
            staggered.start()
            await clock.wait({staggered.over}, plan.deadline)
        finally:
            late = staggered.cancel()
        if isinstance(staggered.error, asyncio.CancelledError) and self.closed:
            raise self.none_left()  # the forks were cancelled, not their waiter
        if staggered.error is not None:
            try:
                raise staggered.error
            finally:
                del staggered  # it has the error, whose traceback has this frame
        if late:
            await asyncio.wait(late)  # each is bounded: what it was forking is undone
            missing = plan.count - count.done
            passed = DeadlineExceededError(f"the deadline of {plan.deadline:g} s has passed", operation="fork_many")
            self.failures += [passed] * missing
        if len(self.members) < plan.at_least:
            raise DeadlineExceededError(
                f"the deadline of {plan.deadline:g} s has passed, and of {plan.count} VMs {len(self.members)} had been "
                f"forked, where at least {plan.at_least} were wanted",
                operation="fork_many",
            )

    async def _fork_some(self, todo: Iterator[int], count: Count) -> None:
        plan = self.plan
        for _ in todo:
            try:
                vm = await self._fork()
            except ArkerError as error:
                self.failures.append(error.with_traceback(None))  # it would lead to this pool
                count.add(failed=True)
                if is_hopeless(count=plan.count, at_least=plan.at_least, failed=len(self.failures)):
                    raise self._too_few() from error
            else:
                self.give_back(vm)
                count.add()

    async def _fork(self) -> AsyncVM:
        request = self.plan.request
        if self.plan.name_prefix is not None:
            self._last_number += 1
            request = attrs.evolve(request, name=f"{self.plan.name_prefix}-{self._last_number}")
        doubted = self.doubts.append
        vm = await fork(self.context, request, idempotency_key=None, deadline=None, ttl=self.plan.ttl, doubted=doubted)
        self.members[vm] = None
        return vm

    def _too_few(self) -> FleetError:
        plan, failed = self.plan, len(self.failures)
        wanted = "all were wanted" if plan.at_least == plan.count else f"at least {plan.at_least} were wanted"
        return FleetError(
            f"of {plan.count} forks {failed} failed, where {wanted}; the first: {self.failures[0]}",
            errors=self.failures,
            operation="fork_many",
        )

    # --- lending ------------------------------------------------------------------------------------------------

    async def borrow(self) -> AsyncVM:
        """Borrow a VM that no other item uses. It must be given back.

        Raises:
            FleetError: No VM is left.
            ConfigurationError: Functions that wait for another VM have all of them.
        """
        while self._idle:
            vm = self._idle.popleft()
            if vm in self.members:
                return vm
        if self.closed or not (self.members or self._replacing):
            raise self.none_left()
        future: asyncio.Future[AsyncVM] = running_loop().create_future()
        try:
            with self.loans.waiting(future):
                self._waiting.append(future)
                self._refuse_stuck()
                return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())
            raise

    async def usable(self, vm: AsyncVM) -> AsyncVM:
        """Return the borrowed VM, or another one in its place if it may still be busy with interrupted work.

        Raises:
            FleetError: No VM is left.
        """
        while not self.is_usable(vm):
            new = await self.replace(vm)
            vm = new if new is not None else await self.borrow()
        return vm

    def give_back(self, vm: AsyncVM | None) -> None:
        """Return a VM to the pool; None stands for one that was not replaced."""
        if vm is None or vm not in self.members:
            if not (self.members or self._replacing):
                while self._waiting:
                    future = self._waiting.popleft()
                    if not future.done():
                        future.set_exception(self.none_left())
            self._refuse_stuck()
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(vm)
                return
        self._idle.append(vm)

    def _refuse_stuck(self) -> None:
        if not self._replacing:  # else a VM may come
            self.loans.refuse_stuck(self.members)

    def is_usable(self, vm: AsyncVM) -> bool:
        """Return whether a borrowed VM can be used as it is."""
        return vm not in self._interrupted or not self.plan.replace

    def mark_interrupted(self, vm: AsyncVM) -> None:
        """Mark a VM whose work was interrupted and may still be running. It is replaced before it is used again."""
        self._interrupted.add(vm)

    def none_left(self) -> FleetError:
        why = "the fleet has been left" if self.closed else "the fleet has no VM left"
        return FleetError(why, errors=self.failures)

    # --- VMs that die -------------------------------------------------------------------------------------------

    async def replace(self, vm: AsyncVM) -> AsyncVM | None:
        """Remove a VM from the fleet, delete what is left of it, and fork another in its place.

        Returns None if the VM is not replaced: the fork failed, the policy forbids it, or another task has replaced it.
        """
        if vm not in self.members or self.closed:
            return None
        del self.members[vm]
        self._interrupted.discard(vm)
        if not vm.kept:
            self._doomed[vm] = None
        self._replacing += 1
        replacing = self.spawn(self._replaced(vm))
        try:
            return await asyncio.shield(replacing)
        except asyncio.CancelledError:
            # The item is given up, but the fleet must not be smaller for good.
            replacing.add_done_callback(self._adopt)
            raise

    async def _replaced(self, vm: AsyncVM) -> AsyncVM | None:
        try:
            # Delete first, even if it only seemed to be gone, so that there are never more VMs than wanted.
            if not vm.kept:
                await self._delete(vm, insist=False)
            return await self._fork() if self.plan.replace else None
        except ArkerError as error:
            self.failures.append(error.with_traceback(None))  # it would lead to this pool
            return None
        finally:
            self._replacing -= 1
            self.give_back(None)

    def _adopt(self, replacing: asyncio.Task[AsyncVM | None]) -> None:
        """Lend out a new VM that its borrower no longer waits for."""
        if not replacing.cancelled() and replacing.exception() is None:
            self.give_back(replacing.result())

    # --- the end ------------------------------------------------------------------------------------------------

    async def close(self, *, at_once: bool = False) -> dict[AsyncVM, ArkerError | None]:
        """End all work and delete every VM. Return the VMs that could not be deleted, and the reasons.

        The time is bounded: cancelled work has `CLEANUP_SECONDS` to end, and the deletion goes on for `LONGEST_CLEANUP`
        at most, as long as it makes progress.

        Args:
            at_once: Cancel the work, and delete the VMs without waiting for it to end.
        """
        self.closed = True
        for _ in range(_INSISTENCE):
            try:
                await self.end_tasks(wait=not at_once)
                await self._delete_all()
                break
            except asyncio.CancelledError:
                if hurry.asked():
                    break
                continue  # a loop that is being shut down cancels every task, once; no other loop does this
        self._doomed.update((vm, None) for vm in self.members if not vm.kept)
        self.members.clear()
        if self.context.ledger is not None:
            for vm in self._doomed:
                self.context.ledger.give_up(vm.id, vm.base_url)
        if hurry.asked():
            hurry.left_behind(*(f"VM {self.context.redact(vm.id)}" for vm in self._doomed))
        return self.left

    @property
    def left(self) -> dict[AsyncVM, ArkerError | None]:
        """VMs that have left the fleet but may still exist, and the reasons, if known."""
        return dict(self._doomed)

    def name(self) -> str:
        """Name a VM that may be left, for the log."""
        return f"the VMs of a fleet ({named([*self._doomed, *(vm for vm in self.members if not vm.kept)])})"

    def abandon(self) -> None:
        """Keep the VMs that could not be deleted in the ledger."""
        left = [vm for vm in (*self._doomed, *self.members) if not vm.kept]
        if self.context.ledger is not None:
            for vm in left:
                self.context.ledger.give_up(vm.id, vm.base_url)
        if hurry.asked():
            hurry.left_behind(*(f"VM {self.context.redact(vm.id)}" for vm in left))

    async def end_tasks(self, *, wait: bool = True) -> None:
        """Cancel the tasks, and wait for their end within a bound."""
        tasks = self.tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        tasks = nesting.others(tasks)
        if tasks and wait:
            # A little more than a fork takes at the most to undo itself.
            late = await hurry.wait(tasks, CLEANUP_SECONDS * 1.2, share=_SHARE)
            if late and not hurry.asked():
                logger.warning("%d functions or forks of a fleet do not end although they were cancelled", len(late))

    async def _delete_all(self) -> None:
        self._doomed.update((vm, None) for vm in self.members if not vm.kept)
        self.members.clear()
        count = self.count("delete", len(self._doomed), self.plan.progress)
        end = clock.now() + LONGEST_CLEANUP
        for _ in range(2):  # what stands still may only have lost its connection, and gets another chance
            if await self._delete_round(count, end) or hurry.asked():
                return

    async def _delete_round(self, count: Count, end: float) -> bool:
        """Delete the VMs that are marked for deletion. Return whether it finished, rather than making no progress."""
        loop, todo = running_loop(), iter(list(self._doomed))
        workers = min(len(self._doomed), self.plan.max_concurrency)
        staggered = StaggeredWorkers(
            lambda: loop.create_task(self._delete_some(todo, count)), workers, places=self.context.places_now
        )
        try:
            staggered.start()
            while not staggered.over.done():
                before = count.done
                # There is no deadline for each one: hundreds of timers cost time.
                await hurry.wait({staggered.over}, max(0.0, min(CLEANUP_SECONDS, end - clock.now())))
                if not staggered.over.done() and (count.done == before or clock.now() >= end or hurry.expired()):
                    return False
        finally:
            late = staggered.cancel()
            if late:
                await asyncio.wait(late)
        if staggered.error is not None:
            try:
                raise staggered.error
            finally:
                del staggered  # it has the error, whose traceback has this frame
        return True

    async def _delete_some(self, todo: Iterator[AsyncVM], count: Count) -> None:
        for vm in todo:
            await self._delete(vm, insist=True)
            count.add(failed=vm in self._doomed)

    async def _delete(self, vm: AsyncVM, *, insist: bool) -> None:
        """Delete a VM that has left the fleet. If that fails, it stays on the list."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await delete_or_raise(place_of(vm), deadline=None if insist else CLEANUP_SECONDS)
            except ArkerError as error:
                self._doomed[vm] = error
                if not insist or not may_pass(error):
                    return
                await clock.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
                continue
            self._doomed.pop(vm, None)
            return


__all__ = ["Pool"]
