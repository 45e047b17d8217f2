"""`AsyncFleet`: many VMs that are forked together, work together, and are all gone at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import arker
from arker import models
from arker._basics.typing import Self
from arker._context import Context
from arker._fleets.pool import Plan, Pool, named
from arker._fleets.work import ItemMap, Outcomes, Work, everywhere
from arker._tasks.cleanup import carry_through
from arker.errors import ArkerError, ConfigurationError, FleetError, InvalidArgumentError
from arker.models import CompletedRunResult, RunRequest
from arker.models import _checks as check
from arker.vm import AsyncVM

Item = TypeVar("Item")
Value = TypeVar("Value")

logger = logging.getLogger("arker")

RETRIES = 2
"""How often an item is tried again, unless told otherwise, because the VM has died in which it was tried."""
_UPLOADS_AT_ONCE = 16
"""Each may hold a file open and have several requests in flight."""
"""How many ids a message names."""


class AsyncFleet:
    """A fleet: VMs that are forked at the beginning of an ``async with`` block and deleted at its end in any case.

    It is a sized collection of handles on the VMs that live. Made by `AsyncArker.fork_many`:

        async with ar.fork_many("ubuntu", 200) as fleet:
            async for outcome in fleet.map(evaluate, programs):
                print(outcome.item, outcome.value if outcome.ok else outcome.error)

    What goes on inside ends with the block, too. Deletions that fail are tried again for up to a minute, as long as
    they get on; VMs that could not be deleted are logged, and raised as `FleetError` unless the block has raised
    something itself. `AsyncVM.keep` exempts a VM.
    """

    def __init__(self, context: Context, plan: Plan) -> None:
        """Made by `AsyncArker.fork_many`."""
        self._pool = Pool(context, plan)
        self._entered = False

    def __repr__(self) -> str:
        state = "left" if self._pool.closed else f"{len(self)} of {self._pool.plan.count} VMs"
        return f"<AsyncFleet of {state}>"

    # --- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConfigurationError("a fleet is entered once; fork another by fork_many")
        blocks = self._pool.context.blocks
        blocks.refuse()
        self._entered = True
        blocks.enter(self, self._pool.name, self._leave_early, self._pool.abandon)
        try:
            await self._pool.fill()
        except BaseException as error:
            if not blocks.left(self):
                await carry_through(blocks.close())
                raise ConfigurationError("the client was closed while the fleet was forked") from error
            await carry_through(self._leave(error))
            if isinstance(error, FleetError):
                error.errors = self.failures  # forks that went on meanwhile may have failed, too
            if isinstance(error, ArkerError) and any(each.outcome != "not_started" for each in self.failures):
                error.outcome = "unknown"  # a fork that failed may have made a VM all the same
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The deletion must happen under cancellation too, but must not hold up its caller for ever.
        closing = not self._pool.context.blocks.left(self)
        await carry_through(self._leave_after_closing(exc) if closing else self._leave(exc))

    async def _leave_early(self) -> None:
        """Delete the VMs because the client is being closed, maybe by a function in one of them."""
        left = await self._pool.close(at_once=True)
        if left:
            raise FleetError(f"{len(left)} VMs could not be deleted")

    async def _leave_after_closing(self, error: BaseException | None) -> None:
        await self._pool.context.blocks.close()
        await self._pool.end_tasks()
        self._tell(self._pool.left, error)

    async def _leave(self, error: BaseException | None) -> None:
        self._tell(await self._pool.close(), error)

    def _tell(self, left: dict[AsyncVM, ArkerError | None], error: BaseException | None) -> None:
        """Log what could not be deleted, and write it onto an error or raise it unless there is another."""
        if not left:
            return
        reasons = [reason for reason in left.values() if reason is not None]
        why = f"; the first: {reasons[0]}" if reasons else ""
        # Also when it is raised: a caller that was cancelled meanwhile gets the cancellation.
        logger.warning("%d VMs of a fleet could not be deleted and may still exist: %s%s", len(left), named(left), why)
        ids = [vm.id for vm in left]
        if isinstance(error, FleetError):
            error.vm_ids, error.outcome = tuple(ids), "unknown"
        elif error is None:
            raise FleetError(
                f"{len(ids)} VMs could not be deleted and may still exist: {named(left)}{why}",
                errors=reasons,
                vm_ids=ids,
                operation="fleet.delete",
                outcome="unknown",
            )

    # --- the VMs ------------------------------------------------------------------------------------------------

    @property
    def vms(self) -> tuple[AsyncVM, ...]:
        """Handles on the VMs that live, in the order in which they were forked."""
        return tuple(self._pool.members)

    @property
    def failures(self) -> tuple[ArkerError, ...]:
        """What the forks that failed, of replacements too, failed with."""
        return tuple(self._pool.failures)

    def __len__(self) -> int:
        return len(self._pool.members)

    def __iter__(self) -> Iterator[AsyncVM]:
        return iter(self.vms)

    def __contains__(self, vm: object) -> bool:
        return vm in self._pool.members

    # --- work ---------------------------------------------------------------------------------------------------

    def map(
        self,
        function: Callable[[AsyncVM, Item], Awaitable[Value]],
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        ordered: bool = False,
        retries: int = RETRIES,
        item_deadline: float | None = None,
        progress: Callable[[arker.FleetProgress], object] | None = None,
    ) -> AsyncIterator[arker.FleetOutcome[AsyncVM, Item, Value]]:
        """Outcomes of a function for each of many items, as they come: in each VM, one item at a time.

            async def evaluate(vm: AsyncVM, program: str) -> bool:
                await vm.sync("program.py", program.encode())
                return (await vm.run("python3 program.py", timeout=30)).exit_code == 0

            async for outcome in fleet.map(evaluate, programs):
                print(outcome.index, outcome.ok)

        Work begins when the first outcome is asked for. When outcomes are taken more slowly than they come, it pauses:
        at most twice as many items as there are VMs (in order, four times as many) are in work or wait to be taken.
        When nobody holds the iterator any more, such as after a ``break``, what is going on is cancelled; its
        ``aclose`` also waits for that. VMs in which something was cut off, by this or by ``item_deadline``, are
        replaced before the next item, since what was started there may go on.

        When a VM dies under an item (it has been deleted or lost), the item is tried again, in a VM that is forked in
        its place; so the function may have been carried out in part, or whole, before.

        Args:
            function: Given a VM and an item; what it raises becomes the outcome's error.
            items: The items; they are drawn as VMs become free, one at a time.
            ordered: Whether outcomes come in the order of the items.
            retries: How often an item is tried again because its VM has died.
            item_deadline: Seconds for each try of an item, which is cancelled then, its outcome a
                `DeadlineExceededError`; None for no bound.
            progress: Called with a `FleetProgress` as items are done.

        Raises:
            FleetError: When outcomes are taken: no VM is left. Items that have no outcome then were not drawn.
            ConfigurationError: The fleet's block was not entered, or has been left.
        """
        self._check_open()
        if not callable(function):
            raise InvalidArgumentError("function", function, "expected a coroutine function of a VM and an item")
        if not isinstance(items, (Iterable, AsyncIterable)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("items", items, "expected an iterable, or an asynchronous one")
        check.check_boolean("ordered", ordered)
        check.check_integer("retries", retries, minimum=0)
        if item_deadline is not None:
            check.check_seconds("item_deadline", item_deadline)
        check.check_function("progress", progress)
        work = Work(self._pool, function, retries=retries, item_deadline=item_deadline, lent=True)
        return Outcomes(ItemMap(self._pool, work, items, ordered=ordered, progress=progress))

    async def run(
        self,
        command: str | Sequence[str],
        *,
        session_idx: int | None = None,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        signal: str | None = None,
        check: bool = False,
        deadline: float | None = None,
        retries: int = RETRIES,
        progress: Callable[[arker.FleetProgress], object] | None = None,
    ) -> list[arker.FleetOutcome[AsyncVM, str | Sequence[str], CompletedRunResult]]:
        """An outcome for each VM, after a command has run in all of them at once.

        A VM that has died is replaced, and the command runs in the one that takes its place. What all VMs are to have
        is better given to one VM from which the fleet is then forked: later replacements have it, too.

        Args:
            command: A line for the VMs' shell, or a list of arguments, which is quoted for it.
            session_idx: The session by its number; by default each VM's default session.
            timeout: Seconds after which the server kills everything that the command started; None for no bound.
            end_symbol: Opaque to the SDK.
            vcpu_count: CPUs from this run on.
            memory_mib: Memory from this run on, in MiB.
            disk_mib: Disk from this run on, in MiB.
            network: Ports to open, such as ``{"inbound": {"ports": {"8080": {"visibility": "public"}}}}``.
            acquire: Resources to warm up before: ``cpu``, ``memory``, ``disk``, as a list or joined by commas.
            release: Resources to let go of afterwards; all three come closest to a suspend.
            signal: Instead of running: the name of a signal (``INT``, ``TERM``) for what the session is running.
            check: Make it an error, `RunFailedError`, of its outcome when a command does not exit with 0.
            deadline: Seconds for the command in each VM; None for no bound. The command may go on then.
            retries: How often the command is run again because a VM has died.
            progress: Called with a `FleetProgress` as VMs are done.

        Raises:
            FleetError: The fleet was left meanwhile.
            ConfigurationError: The fleet's block was not entered, or has been left.
        """

        # What cannot be right is refused here, rather than by each VM.
        RunRequest(
            command=command,
            session_idx=session_idx,
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
            signal=signal,
        )
        _check_options(check, deadline)

        async def in_one(vm: AsyncVM, command: str | Sequence[str]) -> CompletedRunResult:
            return await vm.run(
                command,
                session_idx=session_idx,
                timeout=timeout,
                end_symbol=end_symbol,
                vcpu_count=vcpu_count,
                memory_mib=memory_mib,
                disk_mib=disk_mib,
                network=network,
                acquire=acquire,
                release=release,
                signal=signal,
                check=check,
                deadline=deadline,
            )

        work = self._everywhere(in_one, retries=retries, progress=progress)
        return await everywhere(work, self._pool, command, "run", progress)

    async def upload(
        self,
        source: arker.transfer.LocalPath | bytes | bytearray | memoryview,
        path: arker.transfer.RemotePath,
        *,
        strategy: arker.transfer.Strategy = "auto",
        concurrency: int | None = None,
        part_size: int | None = None,
        verify: arker.transfer.Verify = "size",
        mode: int | None = None,
        deadline: float | None = None,
        retries: int = RETRIES,
        progress: Callable[[arker.FleetProgress], object] | None = None,
    ) -> list[arker.FleetOutcome[AsyncVM, arker.transfer.RemotePath, arker.TransferResult]]:
        """An outcome for each VM, after a file has been written into all of them, up to 16 at once.

        What all VMs are to have is better given to one VM from which the fleet is then forked, as with `run`.

        Args:
            source: A local file by its path, or bytes. (What can be read but once does not suffice for many.)
            path: Where the file goes in each VM; a relative path counts from the home directory.
            strategy: As for `AsyncVM.upload`.
            concurrency: As for `AsyncVM.upload`, in each VM.
            part_size: As for `AsyncVM.upload`.
            verify: As for `AsyncVM.upload`.
            mode: As for `AsyncVM.upload`.
            deadline: Seconds for the file in each VM; None for no bound.
            retries: How often the file is written again because a VM has died.
            progress: Called with a `FleetProgress` as VMs are done.

        Raises:
            FleetError: The fleet was left meanwhile.
            ConfigurationError: The fleet's block was not entered, or has been left.
        """
        if not isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("source", source, "expected a local file's path or bytes, for all VMs to have")

        async def into_one(vm: AsyncVM, path: arker.transfer.RemotePath) -> arker.TransferResult:
            return await vm.upload(
                source,
                path,
                strategy=strategy,
                concurrency=concurrency,
                part_size=part_size,
                verify=verify,
                mode=mode,
                deadline=deadline,
            )

        work = self._everywhere(into_one, retries=retries, progress=progress)
        return await everywhere(work, self._pool, path, "upload", progress, at_once=_UPLOADS_AT_ONCE)

    def _everywhere(
        self,
        function: Callable[[AsyncVM, Item], Awaitable[Value]],
        *,
        retries: int,
        progress: Callable[[arker.FleetProgress], object] | None,
    ) -> Work[Item, Value]:
        self._check_open()
        check.check_integer("retries", retries, minimum=0)
        check.check_function("progress", progress)
        return Work(self._pool, function, retries=retries, lent=False)

    def _check_open(self) -> None:
        if self._pool.closed:
            raise ConfigurationError("the fleet has been left: its VMs are deleted")
        if not self._entered:
            raise ConfigurationError("the fleet has no VMs yet: enter it by 'async with'")


def _check_options(checked: bool, deadline: float | None) -> None:
    check.check_boolean("check", checked)
    if deadline is not None:
        check.check_seconds("deadline", deadline)


__all__ = ["AsyncFleet"]
