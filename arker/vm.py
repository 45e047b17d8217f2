"""`AsyncVM`: a handle on one VM."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from arker import _calls, transfer
from arker._cleanup import carry_through
from arker._fork import CLEANUP_SECONDS, Forking, delete
from arker._identifiers import new_idempotency_key
from arker._run_watch import RunWatch
from arker._vm_resources import VmResources
from arker.errors import ArkerError, InvalidArgumentError, RunFailedError
from arker.models import (
    BackgroundRunResult,
    CancelRunResponse,
    CompletedRunResult,
    DeleteVmResponse,
    ForkRequest,
    ListRunsResponse,
    Run,
    RunRequest,
    RunResult,
    RunState,
)
from arker.models import _checks as check

if TYPE_CHECKING:
    from typing_extensions import Self

    from arker._transport import Transport
    from arker.models import NetworkPolicyInput, NetworkRequest, ResourceKind, TunnelRequest, Vm

logger = logging.getLogger("arker")


class _Unset:
    """Stands for an argument that was not given, where None would be a mistake worth an error."""

    def __repr__(self) -> str:
        return "<not given>"


UNSET: Final = _Unset()


class AsyncVM(VmResources):
    """A handle on a VM: run commands in it, move files, fork it, delete it.

    It holds no connection of its own and may be kept as long as its client. Its attributes are the fields of `Vm` as
    they were last read. As an async context manager it deletes the VM at the end, whatever happens inside:

        async with await ar.fork("ubuntu") as vm:
            result = await vm.run("echo hi", check=True)
            print(result.stdout_text)
    """

    def __init__(self, transport: Transport, vm_id: str, base_url: str, data: Vm | None = None) -> None:
        """Made by `AsyncArker.fork`, `AsyncArker.vm` and `AsyncArker.get_vm`."""
        super().__init__(transport, vm_id, base_url, data)
        self._kept = False

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name is not None else ""
        return self._transport.redact(f"<AsyncVM {self.id}{named} at {self.base_url}>")

    # --- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._kept:
            return
        # The deletion must happen under cancellation too, but must not hold up its caller for ever.
        await carry_through(self._leave(raising=exc is None))

    async def _leave(self, *, raising: bool) -> None:
        try:
            await self.delete(deadline=CLEANUP_SECONDS)
        except ArkerError as error:
            if error.status == 404:
                return  # somebody else has deleted it, which is what was wanted
            if raising:
                raise
            logger.warning("VM %s could not be deleted and may still exist: %s", self.id, error)

    def keep(self) -> None:
        """Do not delete the VM when the ``async with`` block is left, nor in a `AsyncArker.reap`."""
        self._kept = True
        if self._transport.ledger is not None:
            self._transport.ledger.let_go(self.id, self.base_url)

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """This handle, with its fields read anew.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such VM (any more).
        """
        self._data = await self._transport.send(_calls.get_vm(self.base_url, self.id), deadline=deadline)
        return self

    async def fork(
        self,
        *,
        source_org_id: str | None = None,
        name: str | None = None,
        public: bool | None = None,
        network: NetworkPolicyInput | None = None,
        disk: bool = True,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        max_memory_mib: int | None = None,
        disk_mib: int | None = None,
        durable: bool | None = None,
        tunnel: TunnelRequest | Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> AsyncVM:
        """A new VM with a copy of this one's files as of this moment; the same as `AsyncArker.fork` of it.

        See `AsyncArker.fork` for the arguments and errors (contract, section 5).
        """
        request = ForkRequest(
            source_vm_id=self.id,
            source_org_id=source_org_id,
            name=name,
            public=public,
            network=network,
            disk=disk,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            max_memory_mib=max_memory_mib,
            disk_mib=disk_mib,
            durable=durable,
            tunnel=tunnel,
        )
        return await fork(self._transport, request, idempotency_key=idempotency_key, deadline=deadline)

    async def delete(self, *, deadline: float | None = None) -> DeleteVmResponse:
        """Delete the VM: its processes are killed, its files removed.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such VM (any more).
            ForbiddenError: It is a public golden.
        """
        return await delete(self._transport, self.base_url, self.id, deadline=deadline)

    # --- runs ---------------------------------------------------------------------------------------------------

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        session_id: str | None = None,
        session_idx: int | None = None,
        background: Literal[False] = False,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[ResourceKind] | None = None,
        release: str | Sequence[ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        deadline: float | None = None,
    ) -> CompletedRunResult: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        session_id: str | None = None,
        session_idx: int | None = None,
        background: Literal[True],
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[ResourceKind] | None = None,
        release: str | Sequence[ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: Literal[False] = False,
        deadline: float | None = None,
    ) -> BackgroundRunResult: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        session_id: str | None = None,
        session_idx: int | None = None,
        background: bool,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[ResourceKind] | None = None,
        release: str | Sequence[ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: Literal[False] = False,
        deadline: float | None = None,
    ) -> RunResult: ...

    async def run(
        self,
        command: str | Sequence[str],
        *,
        session_id: str | None = None,
        session_idx: int | None = None,
        background: bool = False,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[ResourceKind] | None = None,
        release: str | Sequence[ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        deadline: float | None = None,
    ) -> RunResult:
        """Run a command, and wait for it unless it goes to the background (contract, section 5).

        Three bounds that are not to be confused: ``timeout`` is the command's, enforced by the server; ``deadline`` is
        the caller's, over all attempts, and leaves the command running; those of `HttpTimeouts` are the connection's.

        Args:
            command: A line for the VM's shell, or a list of arguments, which is quoted for it.
            session_id: The session to run in; by default the VM's default session.
            session_idx: The session by its number; ``session_id`` wins.
            background: Answer at once, with the run's id.
            timeout: Seconds after which the server kills everything that the command started; None for no bound.
            end_symbol: Opaque to the SDK.
            vcpu_count: CPUs from this run on.
            memory_mib: Memory from this run on, in MiB.
            disk_mib: Disk from this run on, in MiB.
            network: Ports to open, such as ``{"inbound": {"ports": {"8080": {"visibility": "public"}}}}``.
            acquire: Resources to warm up before: ``cpu``, ``memory``, ``disk``, as a list or joined by commas.
            release: Resources to let go of afterwards; all three come closest to a suspend.
            signal: Instead of running: the name of a signal (``INT``, ``TERM``) for what the session is running.
            idempotency_key: The same key with the same request answers with the original run instead of running again;
                one is made for each call unless given.
            check: Raise unless the command completes with exit code 0.
            deadline: Seconds for the whole call; None for no bound.

        Returns:
            A `CompletedRunResult`; with ``background=True`` a `BackgroundRunResult`.

        Raises:
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            ConflictError: The idempotency key belongs to a different request.
            NotFoundError: There is no such VM or session.
            VMGoneError: The VM has gone while the command was running; carries what had been read of its output.
            DeadlineExceededError: The deadline passed; the command may be running.
        """
        if background and check:
            raise InvalidArgumentError("check", check, "a run in the background has no result to check yet")
        request = RunRequest(
            command=command,
            session_id=session_id,
            session_idx=session_idx,
            background=background,
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
        key = _key(idempotency_key)
        if background:
            result = await self._transport.send(_calls.run(self.base_url, self.id, request, key), deadline=deadline)
        else:
            result = await RunWatch(self._transport, self.base_url, self.id, request).send(key, deadline)
        if check and isinstance(result, CompletedRunResult) and (result.exit_code != 0 or result.state != "completed"):
            failed = RunFailedError(result)
            # It quotes what the command has written, and who knows what that is.
            message = self._transport.redact(failed.message)
            raise failed.with_context(message=message, operation="vm.run", vm_id=self.id)
        return result

    async def get_run(self, run_id: str, *, deadline: float | None = None) -> Run:
        """A run with what it has written so far.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        call = _calls.get_run(self.base_url, self.id, check.check_id("run_id", run_id))
        return await self._transport.send(call, deadline=deadline)

    async def list_runs(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: RunState | str | Sequence[RunState | str] | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        completed_after: str | None = None,
        deadline: float | None = None,
    ) -> ListRunsResponse:
        """A page of this VM's runs, newest first, without their output.

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Runs on the page; the server takes 50 unless told, and at most 1,000.
            state: Only runs in this state, or in one of these.
            started_after: Only runs started after this moment (RFC 3339).
            started_before: Only runs started before this moment (RFC 3339).
            completed_after: Only runs completed after this moment (RFC 3339).
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
        """
        parameters = {
            "cursor": check.query_text("cursor", cursor),
            "limit": check.query_limit(limit),
            "state": check.query_list("state", state),
            "started_after": check.query_text("started_after", started_after),
            "started_before": check.query_text("started_before", started_before),
            "completed_after": check.query_text("completed_after", completed_after),
        }
        return await self._transport.send(_calls.list_runs(self.base_url, self.id, parameters), deadline=deadline)

    async def cancel_run(self, run_id: str, *, deadline: float | None = None) -> CancelRunResponse:
        """Stop a run: everything that it started is killed.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        call = _calls.cancel_run(self.base_url, self.id, check.check_id("run_id", run_id))
        return await self._transport.send(call, deadline=deadline)

    # --- files --------------------------------------------------------------------------------------------------

    @overload
    async def sync(self, path: str | PurePosixPath, *, deadline: float | None = None) -> bytes: ...

    @overload
    async def sync(
        self, path: str | PurePosixPath, data: bytes | bytearray | memoryview, *, deadline: float | None = None
    ) -> None: ...

    async def sync(
        self,
        path: str | PurePosixPath,
        data: bytes | bytearray | memoryview | _Unset = UNSET,
        *,
        deadline: float | None = None,
    ) -> bytes | None:
        """Read a file of the VM, or write one whole (contract, section 6).

        With the path alone, the file's bytes come back. With data, they become the file; missing directories are made.
        Up to 4 MiB go inline, more by a presigned PUT; reads follow what the server offers.

        Args:
            path: Where the file is in the VM; a relative path counts from the home directory.
            data: The bytes to write, at most 5 GiB.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such file, or no such VM.
            BadRequestError: The path is not one of a regular file.
        """
        where = transfer.check_path(path)
        if isinstance(data, _Unset):
            return await transfer.read(self._transport, self.base_url, self.id, where, deadline=deadline)
        view = transfer.check_data(data)
        await transfer.write(self._transport, self.base_url, self.id, where, view, deadline=deadline)
        return None


def _key(given: str | None) -> str:
    return new_idempotency_key() if given is None else check.check_idempotency_key("idempotency_key", given)


async def fork(
    transport: Transport, request: ForkRequest, *, idempotency_key: str | None, deadline: float | None
) -> AsyncVM:
    """Fork a VM; the child's handle keeps the base URL that the fork was posted to (contract, section 2)."""
    forking = Forking(transport, request, _key(idempotency_key))
    del request  # of hundreds of forks at once, each object is one more for the garbage collector
    data = await forking.send(deadline)
    return AsyncVM(transport, data.vm_id, forking.base_url, data)


__all__ = ["AsyncVM"]
