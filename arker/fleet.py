"""`AsyncFleet`: many VMs that are forked together, work together, and are deleted together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from mmap import mmap
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import arker
from arker import models
from arker._basics.guidance import instead, no_end, no_plain_block
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.typing import Self
from arker._commands.options import check_effect, make_options
from arker._context import Context
from arker._files.sources import is_buffer, is_path
from arker._fleets.left import tell_of_left
from arker._fleets.plan import Plan
from arker._fleets.pool import Pool
from arker._fleets.work import ItemMap, Outcomes, Work, everywhere
from arker._tasks import hurry
from arker._tasks.cleanup import clean_up
from arker.errors import ArkerError, ConfigurationError, FleetError, InvalidArgumentError
from arker.models import CompletedRunResult, RunRequest
from arker.models import _checks as check
from arker.vm import AsyncVM

Item = TypeVar("Item")
Value = TypeVar("Value")

RETRIES = 2
"""Default number of retries of an item after its VM has died."""
_UPLOADS_AT_ONCE = 16
"""Maximum number of VMs in parallel: each may hold a file open and have several requests in flight."""


class AsyncFleet:
    """A fleet: VMs that an ``async with`` block forks at its start and always deletes at its end.

    A fleet is a sized collection of handles on its living VMs. `AsyncArker.fork_many` returns one:

        async with ar.fork_many("ubuntu", 200) as fleet:
            async for outcome in fleet.map(evaluate, programs):
                print(outcome.item, outcome.value if outcome.ok else outcome.error)

    The end of the block also ends the fleet's work. Failed deletions are retried for up to a minute while there is
    progress. VMs that could not be deleted are logged, and reported in a `FleetError` unless the block itself has
    raised an exception. `AsyncVM.keep` exempts a VM.
    """

    __reduce__ = refuse_to_be_pickled
    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end

    def __init__(self, context: Context, plan: Plan) -> None:
        """Initialize the fleet. Use `AsyncArker.fork_many` to get one."""
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
        await blocks.refuse()
        self._entered = True
        blocks.enter(self, self._pool.name, self._leave_early, self._pool.abandon)
        try:
            await self._pool.fill()
        except BaseException as error:
            if not blocks.left(self):
                await clean_up(blocks.until_left(self), cut=False)
                if isinstance(error, asyncio.CancelledError):
                    raise
                closed = ConfigurationError("the client was closed while the fleet was forked")
                if self._pool.left or self._pool.doubts:
                    closed.outcome = "unknown"
                try:
                    raise closed from error
                finally:
                    del closed  # its traceback has this frame
            await clean_up(self._leave(error))
            doubts = self._pool.doubts
            failures = (*self.failures, *doubts)
            if isinstance(error, FleetError):
                # Forks in progress may also have failed, or were cancelled and could not be undone.
                error.errors = failures
                error.vm_ids += tuple(each.vm_id for each in doubts if each.vm_id is not None)
            if isinstance(error, ArkerError) and any(each.outcome != "not_started" for each in failures):
                error.outcome = "unknown"  # a failed fork may have created a VM all the same
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The deletion must also happen under cancellation, but must not block the caller indefinitely.
        closing = not self._pool.context.blocks.left(self)
        await clean_up(self._leave_after_closing(exc) if closing else self._leave(exc))

    async def _leave_early(self) -> None:
        """Delete the VMs because the client is being closed, possibly by a function of `map`."""
        left = await self._pool.close(at_once=True)
        if left and not hurry.asked():  # else they are named
            raise FleetError(f"{len(left)} VMs could not be deleted")

    async def _leave_after_closing(self, error: BaseException | None) -> None:
        await self._pool.context.blocks.until_left(self)
        await self._pool.end_tasks()
        tell_of_left(self._pool.left, error)

    async def _leave(self, error: BaseException | None) -> None:
        tell_of_left(await self._pool.close(), error)

    # --- the VMs ------------------------------------------------------------------------------------------------

    @property
    def vms(self) -> tuple[AsyncVM, ...]:
        """Handles on the living VMs, in the order of their forks.

        Raises:
            ConfigurationError: The fleet's block was not entered, so it has none yet.
        """
        self._check_entered()
        return tuple(self._pool.members)

    @property
    def failures(self) -> tuple[ArkerError, ...]:
        """The errors of failed forks, including replacements."""
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
    ) -> arker.AsyncItems[arker.FleetOutcome[AsyncVM, Item, Value]]:
        """Map a function over items and yield the outcomes as they arrive. Each VM handles one item at a time.

            async def evaluate(vm: AsyncVM, program: str) -> bool:
                await vm.sync("program.py", program.encode())
                return (await vm.run("python3 program.py", timeout=30)).exit_code == 0

            async for outcome in fleet.map(evaluate, programs):
                print(outcome.index, outcome.ok)

        Work starts when the first outcome is requested. It pauses when outcomes are consumed too slowly: the number of
        items in progress or waiting to be consumed is at most twice the number of VMs (four times if ``ordered``). When
        the iterator is dropped, such as after a ``break``, the work in progress is cancelled; its ``aclose`` also waits
        for that. A VM whose item was cancelled, by this or by ``item_deadline``, is replaced before the next item,
        because processes of the item may still run there.

        When a VM dies during an item (it was deleted or lost), the item is retried in a new VM. The function may
        therefore have run before, in part or completely.

        Args:
            function: Function of a VM and an item. Its exception becomes the outcome's error; what is no `Exception`,
                such as `SystemExit`, ends the work, and the iteration raises it.
            items: The items. They are drawn one at a time as VMs become free.
            ordered: Whether to yield outcomes in the order of the items.
            retries: Maximum number of retries of an item after its VM has died.
            item_deadline: Seconds for each try of an item. A longer try is cancelled, and the outcome's error is a
                `DeadlineExceededError`; None for no limit.
            progress: Called with a `FleetProgress` as items finish.

        Raises:
            FleetError: While outcomes are consumed: no VM is left. Items without an outcome were not drawn.
            ConfigurationError: The fleet's block was not entered or has been left; or, while outcomes are consumed:
                each VM has an item whose function itself waits for a `map` in this fleet.
        """
        self._check_open()
        check.check_function_of_item(function)
        if not isinstance(items, (Iterable, AsyncIterable)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("items", items, "expected an iterable")
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
        env: Mapping[str, str] | None = None,
        cwd: arker.transfer.RemotePath | None = None,
        input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
        on_stdout: arker.transfer.OutputTarget | None = None,
        on_stderr: arker.transfer.OutputTarget | None = None,
        on_cancel: Literal["leave", "kill"] = "leave",
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
        """Run a command in all VMs at once and return an outcome for each VM.

        A VM that has died is replaced, and the command runs in the new one. To set up all VMs, prepare one VM and fork
        the fleet from it: later replacements then have the same setup.

        Args:
            command: A line for the VMs' shell, or a list of arguments, which is quoted for the shell.
            env: Environment variables for this command, as for `AsyncVM.run`.
            cwd: Directory for this command, as for `AsyncVM.run`.
            input: Standard input in each VM, as for `AsyncVM.run`.
            on_stdout: Called with the standard output of all VMs as it comes, as for `AsyncVM.run`.
            on_stderr: The same for their standard error.
            on_cancel: ``kill`` kills the command where it is still running when the call is cancelled, as for
                `AsyncVM.run`.
            session_idx: The session's number; by default each VM's default session.
            timeout: Seconds after which the server kills the command and all its processes, rounded up if it takes no
                fractions; None for no limit.
            end_symbol: Passed to the server unchanged.
            vcpu_count: Number of CPUs from this run on, 255 at most.
            memory_mib: Memory from this run on, in MiB.
            disk_mib: Disk from this run on, in MiB.
            network: Ports to open, such as ``{"inbound": {"ports": {"8080": {"visibility": "public"}}}}``.
            acquire: Resources to warm up before the run: ``cpu``, ``memory``, ``disk``, as a list or joined by commas.
            release: Resources to release after the run; releasing all three is closest to a suspend.
            signal: Name of a signal (``INT``, ``TERM``) to send to the session's current command instead of running
                one.
            check: Set the outcome's error to a `RunFailedError` if the command does not exit with 0.
            deadline: Seconds for the command in each VM; None for no limit. The command may keep running after that.
            retries: Maximum number of retries of the command after a VM has died.
            progress: Called with a `FleetProgress` as VMs finish.

        Raises:
            FleetError: The fleet's block was left during the call.
            ConfigurationError: The fleet's block was not entered or has been left.
        """

        # Invalid arguments are rejected here rather than by each VM.
        request = RunRequest(
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
        options = make_options(
            env=env, cwd=cwd, input=input, on_stdout=on_stdout, on_stderr=on_stderr, on_cancel=on_cancel
        )
        check_effect(request, options)
        _check_options(check, deadline)

        async def in_one(vm: AsyncVM, command: str | Sequence[str]) -> CompletedRunResult:
            return await vm.run(
                command,
                env=env,
                cwd=cwd,
                input=input,
                on_stdout=on_stdout,
                on_stderr=on_stderr,
                on_cancel=on_cancel,
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
        source: arker.transfer.LocalPath | bytes | bytearray | memoryview | mmap,
        path: arker.transfer.RemotePath,
        *,
        strategy: arker.transfer.Strategy = "auto",
        concurrency: int | None = None,
        part_size: int | None = None,
        verify: arker.transfer.Verify = "size",
        checksum: bool = True,
        mode: int | None = None,
        deadline: float | None = None,
        retries: int = RETRIES,
        progress: Callable[[arker.FleetProgress], object] | None = None,
    ) -> list[arker.FleetOutcome[AsyncVM, arker.transfer.RemotePath, arker.TransferResult]]:
        """Upload a file to all VMs, up to 16 at once, and return an outcome for each VM.

        To give all VMs the same files, prepare one VM and fork the fleet from it, as with `run`.

        Args:
            source: Path of a local file, or bytes. (A stream can be read only once and is not accepted.)
            path: Target path in each VM; a relative path starts at the home directory.
            strategy: As for `AsyncVM.upload`.
            concurrency: As for `AsyncVM.upload`, in each VM.
            part_size: As for `AsyncVM.upload`.
            verify: As for `AsyncVM.upload`.
            checksum: As for `AsyncVM.upload`.
            mode: As for `AsyncVM.upload`.
            deadline: Seconds for the file in each VM; None for no limit.
            retries: Maximum number of retries of the upload after a VM has died.
            progress: Called with a `FleetProgress` as VMs finish.

        Raises:
            FleetError: The fleet's block was left during the call.
            ConfigurationError: The fleet's block was not entered or has been left.
        """
        if not is_path(source) and not is_buffer(source):
            raise InvalidArgumentError("source", source, "expected a local file's path or bytes, for all VMs to have")

        async def into_one(vm: AsyncVM, path: arker.transfer.RemotePath) -> arker.TransferResult:
            return await vm.upload(
                source,
                path,
                strategy=strategy,
                concurrency=concurrency,
                part_size=part_size,
                verify=verify,
                checksum=checksum,
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
        self._check_entered()

    def _check_entered(self) -> None:
        if not self._entered:
            raise ConfigurationError("the fleet has no VMs yet: use it as a context manager")


def _check_options(checked: bool, deadline: float | None) -> None:
    check.check_boolean("check", checked)
    if deadline is not None:
        check.check_seconds("deadline", deadline)


__all__ = ["AsyncFleet"]
