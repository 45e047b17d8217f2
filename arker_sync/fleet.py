# Generated from arker/fleet.py by "nox -s facade": change that file, not this one.
"""`Fleet`: many VMs that are forked together, work together, and are deleted together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from mmap import mmap
from types import TracebackType
from typing import Any, Literal

import arker
import arker_sync
from arker import models
from arker._basics.typing import Self
from arker.errors import ArkerError
from arker.fleet import RETRIES, Item, Value
from arker.models import CompletedRunResult
from arker_sync import _bridge
from arker_sync._bridge.facade import Facade, held, twin
from arker_sync.vm import VM


class Fleet(Facade):
    """A fleet: VMs that a ``with`` block forks at its start and always deletes at its end.

    A fleet is a sized collection of handles on its living VMs. `Arker.fork_many` returns one:

        with ar.fork_many("ubuntu", 200) as fleet:
            for outcome in fleet.map(evaluate, programs):
                print(outcome.item, outcome.value if outcome.ok else outcome.error)

    The end of the block also ends the fleet's work. Failed deletions are retried for up to a minute while there is
    progress. VMs that could not be deleted are logged, and reported in a `FleetError` unless the block itself has
    raised an exception. `VM.keep` exempts a VM.
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
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None), raised=exc_type)

    # --- the VMs ------------------------------------------------------------------------------------------------

    @property
    def vms(self) -> tuple[VM, ...]:
        """Handles on the living VMs, in the order of their forks.

        Raises:
            ConfigurationError: The fleet's block was not entered, so it has none yet.
        """
        return tuple(VM(each, self._lease) for each in self._async.vms)

    @property
    def failures(self) -> tuple[ArkerError, ...]:
        """The errors of failed forks, including replacements."""
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
    ) -> arker_sync.Items[arker.FleetOutcome[VM, Item, Value]]:
        """Map a function over items and yield the outcomes as they arrive. Each VM handles one item at a time.

            def evaluate(vm: VM, program: str) -> bool:
                vm.sync("program.py", program.encode())
                return vm.run("python3 program.py", timeout=30).exit_code == 0

            for outcome in fleet.map(evaluate, programs):
                print(outcome.index, outcome.ok)

        Work starts when the first outcome is requested. It pauses when outcomes are consumed too slowly: the number of
        items in progress or waiting to be consumed is at most twice the number of VMs (four times if ``ordered``). When
        the iterator is dropped, such as after a ``break``, the work in progress is cancelled; its ``close`` also waits
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
        with _bridge.callbacks.seated() as seat:
            iterator = self._async.map(
                _bridge.workers.in_threads(function, VM, self._lease),
                _bridge.callbacks.feed(items),
                ordered=ordered,
                retries=retries,
                item_deadline=item_deadline,
                progress=_bridge.callbacks.relay("progress", progress),
            )
        return arker_sync.Items(iterator, self._lease, lambda item: held(item, "vm", VM, self._lease), seat)

    def run(
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
    ) -> list[arker.FleetOutcome[VM, str | Sequence[str], CompletedRunResult]]:
        """Run a command in all VMs at once and return an outcome for each VM.

        A VM that has died is replaced, and the command runs in the new one. To set up all VMs, prepare one VM and fork
        the fleet from it: later replacements then have the same setup.

        Args:
            command: A line for the VMs' shell, or a list of arguments, which is quoted for the shell.
            env: Environment variables for this command, as for `VM.run`.
            cwd: Directory for this command, as for `VM.run`.
            input: Standard input in each VM, as for `VM.run`.
            on_stdout: Called with the standard output of all VMs as it comes, as for `VM.run`.
            on_stderr: The same for their standard error.
            on_cancel: ``kill`` kills the command where it is still running when the call is cancelled, as for
                `VM.run`.
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
        work = self._async.run(
            command,
            env=env,
            cwd=cwd,
            input=input,
            on_stdout=_bridge.callbacks.relay_output("on_stdout", on_stdout),
            on_stderr=_bridge.callbacks.relay_output("on_stderr", on_stderr),
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
            retries=retries,
            progress=_bridge.callbacks.relay("progress", progress),
        )
        return [held(each, "vm", VM, self._lease) for each in self._lease.call(work)]

    def upload(
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
    ) -> list[arker.FleetOutcome[VM, arker.transfer.RemotePath, arker.TransferResult]]:
        """Upload a file to all VMs, up to 16 at once, and return an outcome for each VM.

        To give all VMs the same files, prepare one VM and fork the fleet from it, as with `run`.

        Args:
            source: Path of a local file, or bytes. (A stream can be read only once and is not accepted.)
            path: Target path in each VM; a relative path starts at the home directory.
            strategy: As for `VM.upload`.
            concurrency: As for `VM.upload`, in each VM.
            part_size: As for `VM.upload`.
            verify: As for `VM.upload`.
            checksum: As for `VM.upload`.
            mode: As for `VM.upload`.
            deadline: Seconds for the file in each VM; None for no limit.
            retries: Maximum number of retries of the upload after a VM has died.
            progress: Called with a `FleetProgress` as VMs finish.

        Raises:
            FleetError: The fleet's block was left during the call.
            ConfigurationError: The fleet's block was not entered or has been left.
        """
        work = self._async.upload(
            source,
            path,
            strategy=strategy,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            checksum=checksum,
            mode=mode,
            deadline=deadline,
            retries=retries,
            progress=_bridge.callbacks.relay("progress", progress),
        )
        return [held(each, "vm", VM, self._lease) for each in self._lease.call(work)]


__all__ = ["Fleet"]
