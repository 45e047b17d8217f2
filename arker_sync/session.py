# Generated from arker/session.py by "nox -s facade": change that file, not this one.
"""`SessionHandle`: a session of a VM, usable as a context manager."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, cast, overload

import arker
import arker_sync
from arker import models
from arker._basics.typing import Self
from arker_sync import _bridge
from arker_sync._bridge.facade import Facade


class SessionHandle(Facade):
    """A session of a VM: like a terminal tab, with a working directory and an environment that last from run to run.

    As a context manager it opens the session at the start and deletes it at the end, also after an exception:

        with vm.open_session(cwd="/srv", env={"STAGE": "test"}) as session:
            session.run("export COLOUR=blue")
            print(session.run("echo $STAGE $COLOUR").stdout_text)

    Without a block, `open` opens it and `close` deletes it. A session runs one command at a time; different sessions
    run theirs in parallel.
    """

    _async: arker.AsyncSession

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session's id."""
        return self._async.id

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._async.session_id

    @property
    def vm_id(self) -> str:
        """The id of the session's VM, or the name that the VM's handle was created with."""
        return self._async.vm_id

    @property
    def data(self) -> models.Session | None:
        """The session at the last read; None before it was opened."""
        return self._async.data

    @property
    def cwd(self) -> str | None:
        """The working directory at the last read; None if the server does not report it."""
        return self._async.cwd

    @property
    def env(self) -> Mapping[str, str] | None:
        """The environment at the last read; None if the server does not report it."""
        return self._async.env

    @property
    def state(self) -> models.SessionState | str | None:
        """The state at the last read: ``idle``, ``pending`` or ``running``; None if the server does not report it."""
        return self._async.state

    # --- life -----------------------------------------------------------------------------------------------------

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

    def open(self) -> Self:
        """Open the session and return it. An open session stays as it is.

        If the caller is cancelled, no session is left behind as far as the client can tell.

        Raises:
            BadRequestError: The working directory does not exist.
            NetworkError: With ``outcome="unknown"`` the session may exist; the request is not repeated.
            DeadlineExceededError: The ``deadline`` of `VM.open_session` has passed.
        """
        work = self._async.open()
        self._lease.call(work)
        return self

    def close(self, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Delete the session and stop its commands. One that is closed already, or gone with its VM, stays so.

        Args:
            deadline: Seconds for the whole call; None for no limit.
        """
        work = self._async.close(deadline=deadline)
        return self._lease.call(work)

    def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the session's fields again. Returns this session.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session (any more).
        """
        work = self._async.refresh(deadline=deadline)
        self._lease.call(work)
        return self

    # --- commands -------------------------------------------------------------------------------------------------

    @overload
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
    def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: arker.transfer.RemotePath | None = None,
        input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
        on_stdout: None = None,
        on_stderr: None = None,
        on_cancel: Literal["leave"] = "leave",
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
        """Run a command in this session and wait for it. See `VM.run` for the arguments and errors.

        Returns:
            A `CompletedRunResult`; with ``time_to_background`` a `BackgroundRunResult` if the command then goes on.
        """
        asynchronous: Any = self._async
        work = asynchronous.run(
            command,
            env=env,
            cwd=cwd,
            input=input,
            on_stdout=_bridge.callbacks.relay_output("on_stdout", on_stdout),
            on_stderr=_bridge.callbacks.relay_output("on_stderr", on_stderr),
            on_cancel=on_cancel,
            time_to_background=time_to_background,
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
            signal=signal,
            queueing_timeout=queueing_timeout,
            idempotency_key=idempotency_key,
            check=check,
            deadline=deadline,
        )
        return cast("models.RunResult", self._lease.call(work))

    def start(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: arker.transfer.RemotePath | None = None,
        input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
        stdin: bool = False,
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
    ) -> arker_sync.RunHandle:
        """Start a command in this session, without waiting for it. See `VM.start` for the arguments and errors."""
        work = self._async.start(
            command,
            env=env,
            cwd=cwd,
            input=input,
            stdin=stdin,
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
            queueing_timeout=queueing_timeout,
            idempotency_key=idempotency_key,
            deadline=deadline,
        )
        return arker_sync.RunHandle(self._lease.call(work), self._lease)


__all__ = ["SessionHandle"]
