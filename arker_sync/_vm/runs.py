# Generated from arker/_vm/runs.py by "nox -s facade": change that file, not this one.
"""Commands in a VM: run them, hold them, look at runs, cancel them. A part of `VM`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast, overload

import arker_sync
from arker import models
from arker_sync._bridge.facade import same
from arker_sync._vm.base import VmBase


class Runs(VmBase):
    """The calls of `VM` on runs."""

    @overload
    def run(
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
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        deadline: float | None = None,
    ) -> models.CompletedRunResult: ...

    @overload
    def run(
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
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: Literal[False] = False,
        deadline: float | None = None,
    ) -> models.BackgroundRunResult: ...

    @overload
    def run(
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
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: Literal[False] = False,
        deadline: float | None = None,
    ) -> models.RunResult: ...

    def run(
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
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        signal: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        deadline: float | None = None,
    ) -> models.RunResult:
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
        asynchronous: Any = self._async
        work = asynchronous.run(
            command,
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
            idempotency_key=idempotency_key,
            check=check,
            deadline=deadline,
        )
        return cast("models.RunResult", self._lease.call(work))

    def start(
        self,
        command: str | Sequence[str],
        *,
        session_id: str | None = None,
        session_idx: int | None = None,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> arker_sync.RunHandle:
        """A run in the background, started and held: wait for it, read its output as it comes, cancel it.

        Args:
            command: A line for the VM's shell, or a list of arguments, which is quoted for it.
            session_id: The session to run in; by default the VM's default session.
            session_idx: The session by its number; ``session_id`` wins.
            timeout: Seconds after which the server kills everything that the command started; None for no bound.
            end_symbol: Opaque to the SDK.
            vcpu_count: CPUs from this run on.
            memory_mib: Memory from this run on, in MiB.
            disk_mib: Disk from this run on, in MiB.
            network: Ports to open, such as ``{"inbound": {"ports": {"8080": {"visibility": "public"}}}}``.
            acquire: Resources to warm up before: ``cpu``, ``memory``, ``disk``, as a list or joined by commas.
            release: Resources to let go of afterwards; all three come closest to a suspend.
            idempotency_key: The same key with the same request gives the original run instead of starting another; one
                is made for each call unless given.
            deadline: Seconds until it is started; None for no bound.

        Raises:
            ConflictError: The idempotency key belongs to a different request.
            NotFoundError: There is no such VM or session.
            DeadlineExceededError: The deadline passed; the command may be running.
        """
        work = self._async.start(
            command,
            session_id=session_id,
            session_idx=session_idx,
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
            idempotency_key=idempotency_key,
            deadline=deadline,
        )
        return arker_sync.RunHandle(self._lease.call(work), self._lease)

    def attach_run(self, run_id: str) -> arker_sync.RunHandle:
        """A run of this VM by its id, without asking the server: its fields are None until it is read.

        Args:
            run_id: The run's id.
        """
        value = self._async.attach_run(run_id)
        return arker_sync.RunHandle(value, self._lease)

    def get_run(self, run_id: str, *, deadline: float | None = None) -> models.Run:
        """A run with what it has written so far.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        work = self._async.get_run(run_id, deadline=deadline)
        return self._lease.call(work)

    def list_runs(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: models.RunState | str | Sequence[models.RunState | str] | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        completed_after: str | None = None,
        deadline: float | None = None,
    ) -> models.ListRunsResponse:
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
        work = self._async.list_runs(
            cursor=cursor,
            limit=limit,
            state=state,
            started_after=started_after,
            started_before=started_before,
            completed_after=completed_after,
            deadline=deadline,
        )
        return self._lease.call(work)

    def iter_runs(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.RunState | str | Sequence[models.RunState | str] | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        completed_after: str | None = None,
        deadline: float | None = None,
    ) -> Iterator[models.RunSummary]:
        """This VM's runs, newest first, without their output; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Runs to ask for at once; the server takes 50 unless told, and at most 1,000.
            state: Only runs in this state, or in one of these.
            started_after: Only runs started after this moment (RFC 3339).
            started_before: Only runs started before this moment (RFC 3339).
            completed_after: Only runs completed after this moment (RFC 3339).
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_runs(
            cursor=cursor,
            page_size=page_size,
            state=state,
            started_after=started_after,
            started_before=started_before,
            completed_after=completed_after,
            deadline=deadline,
        )
        return self._lease.iterate(iterator, same)

    def cancel_run(self, run_id: str, *, deadline: float | None = None) -> models.CancelRunResponse:
        """Stop a run: everything that it started is killed.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        work = self._async.cancel_run(run_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Runs"]
