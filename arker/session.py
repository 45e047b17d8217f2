"""`AsyncSession`: a session of a VM, usable as a context manager."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, overload

import arker
from arker import models
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._commands import running
from arker._commands.options import make_options
from arker._context import Place
from arker._lifecycle.creation import Creation, Deleted
from arker._lifecycle.held import Held
from arker._protocol.calls import sessions as session_calls
from arker._tasks.cleanup import CLEANUP_SECONDS
from arker._transport.attempts import deadline_scope
from arker.errors import ConfigurationError


class AsyncSession(Held[models.Session]):
    """A session of a VM: like a terminal tab, with a working directory and an environment that last from run to run.

    As an async context manager it opens the session at the start and deletes it at the end, also after an exception:

        async with vm.open_session(cwd="/srv", env={"STAGE": "test"}) as session:
            await session.run("export COLOUR=blue")
            print((await session.run("echo $STAGE $COLOUR")).stdout_text)

    Without a block, `open` opens it and `close` deletes it. A session runs one command at a time; different sessions
    run theirs in parallel.
    """

    __reduce__ = refuse_to_be_pickled

    _noun, _maker = "session", "open_session"

    def __init__(self, place: Place, request: models.CreateSessionRequest, deadline: float | None) -> None:
        """Initialize the session. Use `AsyncVM.open_session` to get one."""
        super().__init__(place)
        self._request = request
        self._deadline = deadline

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not open" if self._data is None else self._data.session_id
        return shown(self._place.redact(f"<AsyncSession {state} in VM {self._place.vm_id}>"))

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session's id."""
        return self._opened().session_id

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._opened().session_id

    @property
    def vm_id(self) -> str:
        """The id of the session's VM, or the name that the VM's handle was created with."""
        return self._place.vm_id

    @property
    def data(self) -> models.Session | None:
        """The session at the last read; None before it was opened."""
        return self._data

    @property
    def cwd(self) -> str | None:
        """The working directory at the last read; None if the server does not report it."""
        return self._opened().cwd

    @property
    def env(self) -> Mapping[str, str] | None:
        """The environment at the last read; None if the server does not report it."""
        return self._opened().env

    @property
    def state(self) -> models.SessionState | str | None:
        """The state at the last read: ``idle``, ``pending`` or ``running``; None if the server does not report it."""
        return self._opened().state

    def _usable(self) -> str:
        if self._closed:
            raise ConfigurationError("the session is closed")
        return self._opened().session_id

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        self._enter_block()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave_block(raising=exc is None)

    def _name(self) -> str:
        return f"the session {self.id} of the VM {self.vm_id}"

    def _removal(self) -> Coroutine[Any, Any, Deleted]:
        return self.close(deadline=CLEANUP_SECONDS)

    async def open(self) -> Self:
        """Open the session and return it. An open session stays as it is.

        If the caller is cancelled, no session is left behind as far as the client can tell.

        Raises:
            BadRequestError: The working directory does not exist.
            NetworkError: With ``outcome="unknown"`` the session may exist; the request is not repeated.
            DeadlineExceededError: The ``deadline`` of `AsyncVM.open_session` has passed.
        """
        await self._open_once()
        return self

    async def _make(self) -> None:
        place = self._place
        creation = Creation(
            place.context,
            session_calls.create_session(place, self._request),
            lambda made: session_calls.delete_session(place, made.session_id),
            f"a session of the VM {place.vm_id}",
        )
        with deadline_scope(self._deadline, creation.progress):
            self._data = await creation.send()

    async def close(self, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Delete the session and stop its commands. One that is closed already, or gone with its VM, stays so.

        Args:
            deadline: Seconds for the whole call; None for no limit.
        """
        call = session_calls.delete_session(self._place, self._opened().session_id)
        return await self._close(call, models.DeleteSessionResponse(deleted=True), deadline)

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the session's fields again. Returns this session.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session (any more).
        """
        self._data = await self._place.send(session_calls.get_session(self._place, self._usable()), deadline=deadline)
        return self

    # --- commands -------------------------------------------------------------------------------------------------

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
        """Run a command in this session and wait for it. See `AsyncVM.run` for the arguments and errors.

        Returns:
            A `CompletedRunResult`; with ``time_to_background`` a `BackgroundRunResult` if the command then goes on.
        """
        options = make_options(
            env=env, cwd=cwd, input=input, on_stdout=on_stdout, on_stderr=on_stderr, on_cancel=on_cancel
        )
        request = models.RunRequest(
            command=command,
            session_id=self._usable(),
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
        """Start a command in this session, without waiting for it. See `AsyncVM.start` for the arguments and errors."""
        options = make_options(env=env, cwd=cwd, input=input, stdin=stdin)
        request = models.RunRequest(
            command=command,
            session_id=self._usable(),
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
        follower = await running.start(self._place, request, idempotency_key, options=options, deadline=deadline)
        return arker.AsyncRun(follower)


__all__ = ["AsyncSession"]
