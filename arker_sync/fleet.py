# Generated from arker/fleet.py by "nox -s facade": change that file, not this one.
"""`Fleet`: many VMs that are forked together, work together, and are all gone at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import arker
from arker import models
from arker._basics.typing import Self
from arker.errors import ArkerError
from arker.fleet import RETRIES, Item, Value
from arker.models import CompletedRunResult
from arker_sync import _bridge
from arker_sync._bridge.facade import Facade, held, twin
from arker_sync.vm import VM


class Fleet(Facade):
    """A fleet: VMs that are forked at the beginning of a ``with`` block and deleted at its end in any case.

    It is a sized collection of handles on the VMs that live. Made by `Arker.fork_many`:

        with ar.fork_many("ubuntu", 200) as fleet:
            for outcome in fleet.map(evaluate, programs):
                print(outcome.item, outcome.value if outcome.ok else outcome.error)

    What goes on inside ends with the block, too. Deletions that fail are tried again for up to a minute, as long as
    they get on; VMs that could not be deleted are logged, and raised as `FleetError` unless the block has raised
    something itself. `VM.keep` exempts a VM.
    """

    _async: arker.AsyncFleet

    # --- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        work = self._async.__aenter__()
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        work = self._async.__aexit__(exc_type, exc, traceback)
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))

    # --- the VMs ------------------------------------------------------------------------------------------------

    @property
    def vms(self) -> tuple[VM, ...]:
        """Handles on the VMs that live, in the order in which they were forked."""
        return tuple(VM(each, self._lease) for each in self._async.vms)

    @property
    def failures(self) -> tuple[ArkerError, ...]:
        """What the forks that failed, of replacements too, failed with."""
        return self._async.failures

    def __len__(self) -> int:
        return len(self._async)

    def __iter__(self) -> Iterator[VM]:
        return (VM(each, self._lease) for each in self._async)

    def __contains__(self, vm: object) -> bool:
        return twin(vm) in self._async

    # --- work ---------------------------------------------------------------------------------------------------

    def map(
        self,
        function: Callable[[VM, Item], Value],
        items: Iterable[Item],
        *,
        ordered: bool = False,
        retries: int = RETRIES,
        item_deadline: float | None = None,
        progress: Callable[[arker.FleetProgress], object] | None = None,
    ) -> Iterator[arker.FleetOutcome[VM, Item, Value]]:
        """Outcomes of a function for each of many items, as they come: in each VM, one item at a time.

            def evaluate(vm: VM, program: str) -> bool:
                vm.sync("program.py", program.encode())
                return vm.run("python3 program.py", timeout=30).exit_code == 0

            for outcome in fleet.map(evaluate, programs):
                print(outcome.index, outcome.ok)

        Work begins when the first outcome is asked for. When outcomes are taken more slowly than they come, it pauses:
        at most twice as many items as there are VMs (in order, four times as many) are in work or wait to be taken.
        When nobody holds the iterator any more, such as after a ``break``, what is going on is cancelled; its
        ``close`` also waits for that. VMs in which something was cut off, by this or by ``item_deadline``, are
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
        iterator = self._async.map(
            _bridge.workers.in_threads(function, VM, self._lease),
            _bridge.callbacks.feed(items),
            ordered=ordered,
            retries=retries,
            item_deadline=item_deadline,
            progress=_bridge.callbacks.relay("progress", progress),
        )
        return self._lease.iterate(iterator, lambda item: held(item, "vm", VM, self._lease))

    def run(
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
    ) -> list[arker.FleetOutcome[VM, str | Sequence[str], CompletedRunResult]]:
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
        work = self._async.run(
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
            retries=retries,
            progress=_bridge.callbacks.relay("progress", progress),
        )
        return [held(each, "vm", VM, self._lease) for each in self._lease.call(work)]

    def upload(
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
    ) -> list[arker.FleetOutcome[VM, arker.transfer.RemotePath, arker.TransferResult]]:
        """An outcome for each VM, after a file has been written into all of them, up to 16 at once.

        What all VMs are to have is better given to one VM from which the fleet is then forked, as with `run`.

        Args:
            source: A local file by its path, or bytes. (What can be read but once does not suffice for many.)
            path: Where the file goes in each VM; a relative path counts from the home directory.
            strategy: As for `VM.upload`.
            concurrency: As for `VM.upload`, in each VM.
            part_size: As for `VM.upload`.
            verify: As for `VM.upload`.
            mode: As for `VM.upload`.
            deadline: Seconds for the file in each VM; None for no bound.
            retries: How often the file is written again because a VM has died.
            progress: Called with a `FleetProgress` as VMs are done.

        Raises:
            FleetError: The fleet was left meanwhile.
            ConfigurationError: The fleet's block was not entered, or has been left.
        """
        work = self._async.upload(
            source,
            path,
            strategy=strategy,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            mode=mode,
            deadline=deadline,
            retries=retries,
            progress=_bridge.callbacks.relay("progress", progress),
        )
        return [held(each, "vm", VM, self._lease) for each in self._lease.call(work)]


__all__ = ["Fleet"]
