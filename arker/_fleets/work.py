"""Work of a function in the VMs of a fleet: item by item, retried when a VM dies; an iterator over the outcomes."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import attrs

from arker._fleets import nesting
from arker._fleets.deaths import has_died
from arker._fleets.schedule import Schedule
from arker._fleets.staggered_workers import StaggeredWorkers
from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up
from arker._tasks.running_loop import running_loop
from arker._vm.base import place_of
from arker.errors import ConfigurationError, DeadlineExceededError, FleetError, InvalidArgumentError, VMGoneError
from arker.items import AsyncItems
from arker.reports import FleetOutcome, FleetProgress
from arker.vm import AsyncVM

if TYPE_CHECKING:
    from arker._fleets.pool import Pool

Item = TypeVar("Item")
Value = TypeVar("Value")

logger = logging.getLogger("arker")


class Work(Generic[Item, Value]):
    """Items processed with a function, by the policies of one call."""

    def __init__(
        self,
        pool: Pool,
        function: Callable[[AsyncVM, Item], Awaitable[Value]],
        *,
        retries: int,
        item_deadline: float | None = None,
        lent: bool,
    ) -> None:
        """Make the work of one call.

        Args:
            pool: The VMs.
            function: Processes an item in a VM.
            retries: How often an item is retried when its VM has died.
            item_deadline: Seconds for each try.
            lent: Whether the VMs are borrowed from the pool; then an item whose VM has died may continue in any other.
        """
        self._pool = pool
        self._function = function
        self._retries = retries
        self._item_deadline = item_deadline
        self._lent = lent

    async def do(
        self, vm: AsyncVM, index: int, item: Item, done: Callable[[FleetOutcome[AsyncVM, Item, Value]], None]
    ) -> AsyncVM | None:
        """Process an item in a VM. Return the VM that is free afterwards: the same one, its replacement, or None.

        Args:
            vm: The VM to begin in.
            index: The item's number.
            item: The item.
            done: Called with the outcome as soon as it is known.

        Raises:
            FleetError: The item's VM has died, and no VM is left. ``done`` was called with the outcome.
            ConfigurationError: It has died, and functions that wait for another VM have all that are left. Likewise.
        """
        pool, tries, lent = self._pool, 0, self._lent
        outcome: FleetOutcome[AsyncVM, Item, Value] | None = None
        try:
            if lent and not pool.is_usable(vm):
                try:
                    vm = await pool.usable(vm)
                except (FleetError, ConfigurationError) as error:
                    done(FleetOutcome(index=index, item=item, vm=vm, error=error, tries=0))
                    raise
            while True:
                tries += 1
                loan = pool.loans.begin(vm) if self._lent else None
                try:
                    outcome = await self._try(vm, index, item, tries)
                finally:
                    if loan is not None:
                        pool.loans.end(vm, loan)
                lives = (
                    outcome.error is None and not place_of(vm).doubt.take()
                )  # without a request, because this is the most frequent case
                if lives or not await has_died(pool.context, vm, outcome.error):
                    done(outcome)
                    return vm
                if outcome.error is None:
                    # However the function reports a run that failed because the VM is gone.
                    gone = VMGoneError(f"the VM {vm.id} has gone while an item was in it", vm_id=vm.id)
                    outcome = attrs.evolve(outcome, value=None, error=gone)
                if tries > self._retries:
                    done(outcome)
                    return await pool.replace(vm)
                new = await pool.replace(vm)
                if new is None:
                    if not self._lent:
                        done(outcome)
                        return None
                    try:
                        new = await pool.usable(await pool.borrow())
                    except (FleetError, ConfigurationError):
                        done(outcome)
                        raise
                vm, lent = new, True
        except BaseException:
            if lent:
                pool.give_back(vm)
            raise
        finally:
            outcome = None  # the traceback of its error leads to this frame

    async def _try(self, vm: AsyncVM, index: int, item: Item, tries: int) -> FleetOutcome[AsyncVM, Item, Value]:
        value: Value | None = None
        error: Exception | None = None
        started = clock.now()
        try:
            work: Any = self._function(vm, item)
        except Exception as raised:
            error = raised
        else:
            if not isinstance(work, Awaitable):
                raise InvalidArgumentError("function", self._function, "expected a coroutine function: it is awaited")
            try:
                if self._item_deadline is None:
                    value = await cast("Awaitable[Value]", work)
                else:
                    value, error = await self._within(self._item_deadline, vm, cast("Awaitable[Value]", work))
            except Exception as raised:
                error = raised
            except BaseException:
                self._pool.mark_interrupted(vm)
                raise
        seconds = clock.now() - started
        try:
            return FleetOutcome(index=index, item=item, vm=vm, value=value, error=error, seconds=seconds, tries=tries)
        finally:
            # The error's traceback holds this frame: a cycle that would keep the function's objects alive.
            error = value = None

    async def _within(
        self, seconds: float, vm: AsyncVM, work: Awaitable[Value]
    ) -> tuple[Value | None, DeadlineExceededError | None]:
        with clock.move_on_after(seconds) as scope:
            try:
                return await work, None
            finally:
                if scope.cancel_called:
                    self._pool.mark_interrupted(vm)
        return None, DeadlineExceededError(
            f"the item's deadline of {seconds:g} s has passed", operation="fleet.map", outcome="unknown", vm_id=vm.id
        )


async def everywhere(
    work: Work[Item, Value],
    pool: Pool,
    item: Item,
    operation: Literal["run", "upload"],
    progress: Callable[[FleetProgress], object] | None,
    *,
    at_once: int | None = None,
) -> list[FleetOutcome[AsyncVM, Item, Value]]:
    """Process one item in every VM, in a limited number at once. Return an outcome for each VM, in their order."""
    vms = list(pool.members)
    todo = iter(enumerate(vms))
    count = pool.count(operation, len(vms), progress)
    outcomes: dict[int, FleetOutcome[AsyncVM, Item, Value]] = {}

    def done(outcome: FleetOutcome[AsyncVM, Item, Value]) -> None:
        outcomes[outcome.index] = outcome
        count.add(failed=not outcome.ok)

    async def some() -> None:
        for index, vm in todo:
            free = await work.do(vm, index, item, done)
            if free is not vm:
                pool.give_back(free)

    # They are cancelled with the task that waits here, and by the end of the fleet.
    tasks = [pool.spawn(some()) for _ in range(len(vms) if at_once is None else min(at_once, len(vms)))]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    result: object = None
    try:
        for result in results:
            if isinstance(result, asyncio.CancelledError) and pool.closed:
                raise pool.none_left()
            if isinstance(result, BaseException):
                raise result
        return [outcomes.pop(index) for index in range(len(vms))]  # the tracebacks of their errors lead to them here
    finally:
        del tasks, results, result  # and that of an error that is raised has this frame


class ItemMap(Generic[Item, Value]):
    """Items in progress: tasks that draw them one by one, and the outcomes that wait to be taken.

    The tasks belong to the pool. They begin when the first outcome is requested, and end with the items, with `aclose`,
    or with the pool.
    """

    def __init__(
        self,
        pool: Pool,
        work: Work[Item, Value],
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        ordered: bool,
        progress: Callable[[FleetProgress], object] | None,
    ) -> None:
        self._pool = pool
        self._work = work
        self._items = items
        self._ordered = ordered
        self._progress = progress
        # The work has the context of its caller, not of the task that happens to take the first outcome.
        self._context = contextvars.copy_context()
        self._staggered: StaggeredWorkers | None = None
        self._drawing = True
        self._error: BaseException | None = None
        self._begun = False
        self._over = False

    def _begin(self) -> None:
        if self._pool.closed:
            raise ConfigurationError("the fleet has been left")
        self._loop = running_loop()
        items = self._items
        vms = len(self._pool.members)
        total = len(items) if isinstance(items, Sized) else None
        self._count = self._pool.count("map", total, self._progress)
        self._source: Iterator[Item] | AsyncIterator[Item]
        self._source = items.__aiter__() if isinstance(items, AsyncIterable) else iter(items)
        self._schedule: Schedule[FleetOutcome[AsyncVM, Item, Value]] = Schedule(vms=vms, ordered=self._ordered)
        self._turn = asyncio.Lock()
        self._taken = asyncio.Event()
        self._news = asyncio.Event()
        self._begun = True
        workers = max(1, vms if total is None else min(vms, total))
        self._staggered = StaggeredWorkers(
            lambda: self._context.run(self._loop.create_task, self._draw_and_do()),
            workers,
            places=self._pool.context.places_now,
            unless=lambda: self._pool.closed,
            among=self._pool.tasks,
            ended=self._news.set,
        )
        self._staggered.start()

    @property
    def _workers(self) -> set[asyncio.Task[None]]:
        return self._staggered.tasks if self._staggered is not None else set()

    async def next(self) -> FleetOutcome[AsyncVM, Item, Value]:
        """Return the next outcome. A cancelled call loses nothing: the next call returns that outcome."""
        if not self._over:
            if not self._begun:
                self._begin()
            elif running_loop() is not self._loop:
                where = "another event loop (in the parent, if this process was forked)"
                raise ConfigurationError(f"the iteration has begun in {where}, where its work goes on")
        while not self._over:
            if not self._workers:
                self._schedule.skip_missing()
            if self._schedule.ready:
                self._taken.set()
                return self._schedule.take()
            if not self._workers:
                self._over = True
                self._staggered = None  # which has this object
                if self._error is not None:
                    error, self._error = self._error, None
                    try:
                        raise error
                    finally:
                        del error  # its traceback has this frame
                break
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the running work, and wait until it has ended."""
        self._over = True
        self.abandon()
        if self._workers:
            late = await clean_up(hurry.wait(nesting.others(self._workers), CLEANUP_SECONDS))
            if late:
                logger.warning("%d functions of a fleet do not end although they were cancelled", len(late))
            else:
                self._staggered = None
        if self._begun:
            self._news.set()  # for who waits for an outcome, also of a function that does not end

    def abandon(self) -> None:
        """Cancel the running work."""
        self._drawing = False
        if self._staggered is not None:
            self._staggered.cancel()

    def abandon_threadsafe(self) -> None:
        """Cancel the running work from any thread, such as one that destroys the object."""
        if self._workers:
            try:
                self._loop.call_soon_threadsafe(self.abandon)
            except RuntimeError:  # the loop has ended, and all its work with it
                pass

    async def _draw_and_do(self) -> None:
        pool = self._pool
        nesting.begin()
        try:
            while self._drawing:
                vm, index, item = await self._draw()
                pool.give_back(await self._work.do(vm, index, item, self._done))
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError as cancelled:
            if not self._over and self._error is None:
                # The fleet is being left, or the function has raised it: pass it on, and begin nothing else.
                self._drawing = False
                if pool.closed:
                    self._error = pool.none_left()  # all are cancelled; a second time would cut their clean-up
                else:
                    self._error = cancelled
                    self.abandon()
            raise
        except Exception as error:
            self._drawing = False
            if self._error is None:
                self._error = error
        except BaseException as error:
            # Such as SystemExit. It ends the caller's iteration; here it would end the loop, or not be seen at all.
            self._drawing = False
            if self._over:
                raise
            if self._error is None or isinstance(self._error, asyncio.CancelledError):
                self._error = error
            self.abandon()

    async def _draw(self) -> tuple[AsyncVM, int, Item]:
        """Return a VM and an item for it; raises `StopAsyncIteration` at the end."""
        async with self._turn:
            while not self._schedule.has_room:
                self._taken.clear()
                await self._taken.wait()
            # Get the VM first: an item that was drawn must be tried.
            vm = await self._pool.borrow() if self._drawing else None
            try:
                if vm is None or not self._drawing:
                    raise StopAsyncIteration
                try:
                    item = await self._next_item()
                except StopAsyncIteration:
                    self._count.end_at(self._schedule.begun)
                    raise
            except BaseException:
                self._drawing = False
                self._pool.give_back(vm)
                raise
            return vm, self._schedule.begin(), item

    async def _next_item(self) -> Item:
        source = self._source
        if isinstance(source, AsyncIterator):
            return await source.__anext__()
        try:
            return next(source)
        except StopIteration:
            raise StopAsyncIteration from None

    def _done(self, outcome: FleetOutcome[AsyncVM, Item, Value]) -> None:
        self._schedule.finish(outcome.index, outcome)
        self._count.add(failed=not outcome.ok)
        self._news.set()


class Outcomes(AsyncItems[FleetOutcome[AsyncVM, Item, Value]], Generic[Item, Value]):
    """The iterator that `AsyncFleet.map` returns. When it is garbage collected, the running work is cancelled."""

    def __init__(self, mapping: ItemMap[Item, Value]) -> None:
        self._mapping = mapping

    async def __anext__(self) -> FleetOutcome[AsyncVM, Item, Value]:
        return await self._mapping.next()

    async def aclose(self) -> None:
        await self._mapping.aclose()

    def __del__(self) -> None:
        self._mapping.abandon_threadsafe()


__all__ = ["ItemMap", "Outcomes", "Work", "everywhere"]
