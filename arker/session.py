"""`AsyncSession`: a session of a VM, for the length of a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import arker
from arker import _resource_calls as calls
from arker import models
from arker._attempts import deadline_scope
from arker._cleanup import CLEANUP_SECONDS, carry_through
from arker._creation import Creation, remove
from arker._lazy import later
from arker._pickling import refuse_to_be_pickled
from arker._shown import shown
from arker._transport import Transport
from arker._typing import Self
from arker.errors import ConfigurationError

if TYPE_CHECKING:
    from arker import _vm_handles as handles
else:
    handles = later("arker._vm_handles")


class AsyncSession:
    """A session of a VM: like a terminal tab, with a working directory and an environment that last from run to run.

    As an async context manager it is opened at the begin and deleted at the end, whatever happens inside:

        async with vm.open_session(cwd="/srv", env={"STAGE": "test"}) as session:
            await session.run("export COLOUR=blue")
            print((await session.run("echo $STAGE $COLOUR")).stdout_text)

    Elsewhere, `open` opens it and `close` deletes it. It runs one command at a time; different sessions run theirs at
    the same time.
    """

    __reduce__ = refuse_to_be_pickled

    def __init__(
        self, transport: Transport, vm: handles.VmHandles, request: models.CreateSessionRequest, deadline: float | None
    ):
        """Made by `AsyncVM.open_session`."""
        self._transport = transport
        self._vm = vm
        self._request = request
        self._deadline = deadline
        self._data: models.Session | None = None
        self._opening = self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not open" if self._data is None else self._data.session_id
        return shown(self._transport.redact(f"<AsyncSession {state} in VM {self._vm.id}>"))

    # --- what is known of it --------------------------------------------------------------------------------------

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
        """The id of its VM, or the name that the VM's handle was made from."""
        return self._vm.id

    @property
    def data(self) -> models.Session | None:
        """What was last read of it; None before it was opened."""
        return self._data

    @property
    def cwd(self) -> str | None:
        """Its working directory when it was last read; None if the server does not tell it."""
        return self._opened().cwd

    @property
    def env(self) -> Mapping[str, str] | None:
        """Its environment when it was last read, if the server tells it."""
        return self._opened().env

    @property
    def state(self) -> models.SessionState | str | None:
        """``idle``, ``pending`` or ``running``, when it was last read; None if the server does not tell it."""
        return self._opened().state

    def _opened(self) -> models.Session:
        if self._data is None:
            raise ConfigurationError("the session is not open: use it as a context manager, or call its open()")
        return self._data

    def _usable(self) -> str:
        if self._closed:
            raise ConfigurationError("the session is closed")
        return self._opened().session_id

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        self._transport.blocks.enter(self, self._name, self._leave_early)
        return self

    def _name(self) -> str:
        return f"the session {self.id} of the VM {self.vm_id}"

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._transport.blocks.left(self):
            await carry_through(self._transport.blocks.until_left(self))
        elif self._data is not None and not self._closed:
            # The deletion must happen under cancellation too, but must not hold up its caller for ever.
            deleting = self.close(deadline=CLEANUP_SECONDS)
            await carry_through(remove(deleting, self._name(), raising=exc is None))

    async def _leave_early(self) -> None:
        """Delete the session because its client is being closed."""
        if not self._closed:
            await remove(self.close(deadline=CLEANUP_SECONDS), self._name(), raising=True)

    async def open(self) -> Self:
        """This session, opened; one that is open already stays as it is.

        Should its caller be cancelled meanwhile, no session is left behind, as far as that can be known.

        Raises:
            BadRequestError: The working directory is not there.
            NetworkError: With ``outcome="unknown"`` the session may exist: it is not asked for a second time.
            DeadlineExceededError: The ``deadline`` of `AsyncVM.open_session` has passed.
        """
        if self._closed:
            raise ConfigurationError("the session is closed; open_session() gives a new one")
        if self._opening:
            raise ConfigurationError("the session is being opened by another caller")
        if self._data is None:
            self._opening = True
            try:
                await self._open()
            finally:
                self._opening = False
        return self

    async def _open(self) -> None:
        base_url, vm_id = self._vm.base_url, self._vm.id
        creation = Creation(
            self._transport,
            calls.create_session(base_url, vm_id, self._request),
            lambda made: calls.delete_session(base_url, vm_id, made.session_id),
            f"a session of the VM {vm_id}",
        )
        with deadline_scope(self._deadline, creation.progress):
            self._data = await creation.send()

    async def close(self, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Delete the session; what runs in it is stopped.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session (any more).
        """
        answer = await self._vm.delete_session(self._opened().session_id, deadline=deadline)
        self._closed = self._closed or answer.deleted
        return answer

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """This session, with its fields read anew.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session (any more).
        """
        self._data = await self._vm.get_session(self._usable(), deadline=deadline)
        return self

    # --- commands -------------------------------------------------------------------------------------------------

    async def run(
        self,
        command: str | Sequence[str],
        *,
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
    ) -> models.CompletedRunResult:
        """Run a command in this session, and wait for it. See `AsyncVM.run` for the arguments and errors."""
        return await self._vm.run(
            command,
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
            idempotency_key=idempotency_key,
            check=check,
            deadline=deadline,
        )

    async def start(
        self,
        command: str | Sequence[str],
        *,
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
    ) -> arker.AsyncRun:
        """Start a command in this session, without waiting for it. See `AsyncVM.start` for the arguments and errors."""
        return await self._vm.start(
            command,
            session_id=self._usable(),
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


__all__ = ["AsyncSession"]
