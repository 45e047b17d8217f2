"""Commands in a VM: run and start them. A part of `AsyncVM`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import arker
from arker import models
from arker._commands import running
from arker._commands.options import make_options
from arker._tasks import clock
from arker._vm.base import VmBase


class Runs(VmBase):
    """The run methods of `AsyncVM`."""

    @overload
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
        queueing_timeout: float | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        deadline: float | None = None,
    ) -> models.CompletedRunResult: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: arker.transfer.RemotePath | None = None,
        input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
        on_stdout: None = None,
        on_stderr: None = None,
        on_cancel: Literal["leave"] = "leave",
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
        queueing_timeout: float | None = None,
        idempotency_key: str | None = None,
        check: Literal[False] = False,
        deadline: float | None = None,
    ) -> models.BackgroundRunResult: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: arker.transfer.RemotePath | None = None,
        input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
        on_stdout: None = None,
        on_stderr: None = None,
        on_cancel: Literal["leave"] = "leave",
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
        queueing_timeout: float | None = None,
        idempotency_key: str | None = None,
        check: Literal[False] = False,
        deadline: float | None = None,
    ) -> models.RunResult: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: arker.transfer.RemotePath | None = None,
        input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
        on_stdout: None = None,
        on_stderr: None = None,
        on_cancel: Literal["leave"] = "leave",
        session_id: str | None = None,
        session_idx: int | None = None,
        background: Literal[False] = False,
        time_to_background: float,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        signal: str | None = None,
        queueing_timeout: float | None = None,
        idempotency_key: str | None = None,
        check: Literal[False] = False,
        deadline: float | None = None,
    ) -> models.RunResult: ...

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
        session_id: str | None = None,
        session_idx: int | None = None,
        background: bool = False,
        time_to_background: float | None = None,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        signal: str | None = None,
        queueing_timeout: float | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        deadline: float | None = None,
    ) -> models.RunResult:
        """Run a command and wait for it, unless ``background`` is True (contract, section 5).

        There are three different limits. ``timeout`` limits the command and is enforced by the server. ``deadline``
        limits the call over all attempts, and leaves the command running unless ``on_cancel`` is ``kill``.
        `HttpTimeouts` limit the connection.

        Args:
            command: A line for the VM's shell, or a list of arguments, which is quoted for the shell.
            env: Environment variables for this command, in addition to the session's; any text but NUL.
            cwd: Directory for this command: absolute, relative to the session's directory, or below ``~/``.
            input: Standard input: text, bytes, or the path of a local file (as a `pathlib.Path`), of any size. With
                this, ``env`` or ``cwd``, the command runs in a subshell, which changes nothing of its session; its
                input is empty by default.
            on_stdout: Given the command's standard output as it comes: a function of the text, or a file that is open
                for writing, such as `sys.stdout`. The result still has the whole.
            on_stderr: The same for its standard error.
            on_cancel: What becomes of the command if the call is cancelled or its ``deadline`` passes, or anything else
                ends it early: ``leave`` lets it run, ``kill`` kills it with all that it has started, before the call
                ends.
            session_id: The session to run in; by default the VM's default session, or one of the client's own beside it
                while this client has something going on there (see ``overlap_sessions`` of `AsyncArker`).
            session_idx: The session's number; ``session_id`` takes precedence.
            background: Return immediately with the run's id.
            time_to_background: Seconds, 300 at most, after which the call returns with the run's id if the command has
                not ended; it then goes on in the background. Only generation 1 of the API has it.
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
            queueing_timeout: Seconds for which server and client wait for capacity together; 0 to fail at once. Only
                generation 1 of the API has it.
            idempotency_key: A repeated request with the same key returns the original run instead of running again; by
                default generated for each call.
            check: Raise unless the command completes with exit code 0.
            deadline: Seconds for the whole call; None for no limit.

        Returns:
            A `CompletedRunResult`; with ``background=True`` a `BackgroundRunResult`; with ``time_to_background``
            either.

        Raises:
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            WorkingDirectoryError: There is no such directory; the command was not run.
            ConflictError: The idempotency key belongs to a different request.
            NotFoundError: There is no such VM or session.
            UnsupportedOperationError: The server's generation of the API lacks an argument: generation 1 has no sizes,
                no ``network``, no ``acquire`` and no ``release`` here.
            VMGoneError: The VM disappeared while the command was running; the error carries the output read so far.
            DeadlineExceededError: The deadline passed; the command may be running.
        """
        options = make_options(
            env=env, cwd=cwd, input=input, on_stdout=on_stdout, on_stderr=on_stderr, on_cancel=on_cancel
        )
        request = models.RunRequest(
            command=command,
            session_id=session_id,
            session_idx=session_idx,
            background=None if background is False else background,  # as nearly always, with nothing to check
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
            signal=signal,
            time_to_background=time_to_background,
            queueing_timeout=queueing_timeout,
        )
        return await running.run_or_post(
            self._place, request, idempotency_key, options=options, check=check, deadline=deadline
        )

    async def start(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: arker.transfer.RemotePath | None = None,
        input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
        stdin: bool = False,
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
        queueing_timeout: float | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncRun:
        """Start a command in the background and return its run, to wait for it, follow its output or cancel it.

        Args:
            command: A line for the VM's shell, or a list of arguments, which is quoted for the shell.
            env: Environment variables for this command, in addition to the session's; any text but NUL.
            cwd: Directory for this command: absolute, relative to the session's directory, or below ``~/``.
            input: Standard input: text, bytes, or the path of a local file (as a `pathlib.Path`), of any size. With
                this, ``env`` or ``cwd``, the command runs in a subshell, which changes nothing of its session; its
                input is empty by default.
            stdin: Whether the command's input comes later: see `AsyncRun.write` and `AsyncRun.close_stdin`.
            session_id: The session to run in; by default the VM's default session, or one of the client's own beside it
                while this client has something going on there (see ``overlap_sessions`` of `AsyncArker`).
            session_idx: The session's number; ``session_id`` takes precedence.
            timeout: Seconds after which the server kills the command and all its processes, rounded up if it takes no
                fractions; None for no limit.
            end_symbol: Passed to the server unchanged.
            vcpu_count: Number of CPUs from this run on, 255 at most.
            memory_mib: Memory from this run on, in MiB.
            disk_mib: Disk from this run on, in MiB.
            network: Ports to open, such as ``{"inbound": {"ports": {"8080": {"visibility": "public"}}}}``.
            acquire: Resources to warm up before the run: ``cpu``, ``memory``, ``disk``, as a list or joined by commas.
            release: Resources to release after the run; releasing all three is closest to a suspend.
            queueing_timeout: As for `run`.
            idempotency_key: A repeated request with the same key returns the original run instead of starting another;
                by default generated for each call.
            deadline: Seconds until the run is started; None for no limit.

        Raises:
            ConflictError: The idempotency key belongs to a different request.
            NotFoundError: There is no such VM or session.
            DeadlineExceededError: The deadline passed; the command may be running.
        """
        options = make_options(env=env, cwd=cwd, input=input, stdin=stdin)
        request = models.RunRequest(
            command=command,
            session_id=session_id,
            session_idx=session_idx,
            background=True,
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
            queueing_timeout=queueing_timeout,
        )
        began = clock.now()
        follower = await running.start(self._place, request, idempotency_key, options=options, deadline=deadline)
        return arker.AsyncRun(follower, began=began)


__all__ = ["Runs"]
