# Generated from arker/session.py by "nox -s facade": change that file, not this one.
"""`SessionHandle`: a session of a VM, for the length of a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import arker
import arker_sync
from arker import models
from arker._basics.typing import Self
from arker._lifecycle.held import Held
from arker_sync._bridge.facade import Facade


class SessionHandle(Facade, Held[models.Session]):
    """A session of a VM: like a terminal tab, with a working directory and an environment that last from run to run.

    As a context manager it is opened at the begin and deleted at the end, whatever happens inside:

        with vm.open_session(cwd="/srv", env={"STAGE": "test"}) as session:
            session.run("export COLOUR=blue")
            print(session.run("echo $STAGE $COLOUR").stdout_text)

    Elsewhere, `open` opens it and `close` deletes it. It runs one command at a time; different sessions run theirs at
    the same time.
    """

    _async: arker.AsyncSession

    # --- what is known of it --------------------------------------------------------------------------------------

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
        """The id of its VM, or the name that the VM's handle was made from."""
        return self._async.vm_id

    @property
    def data(self) -> models.Session | None:
        """What was last read of it; None before it was opened."""
        return self._async.data

    @property
    def cwd(self) -> str | None:
        """Its working directory when it was last read; None if the server does not tell it."""
        return self._async.cwd

    @property
    def env(self) -> Mapping[str, str] | None:
        """Its environment when it was last read, if the server tells it."""
        return self._async.env

    @property
    def state(self) -> models.SessionState | str | None:
        """``idle``, ``pending`` or ``running``, when it was last read; None if the server does not tell it."""
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
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))

    def open(self) -> Self:
        """This session, opened; one that is open already stays as it is.

        Should its caller be cancelled meanwhile, no session is left behind, as far as that can be known.

        Raises:
            BadRequestError: The working directory is not there.
            NetworkError: With ``outcome="unknown"`` the session may exist: it is not asked for a second time.
            DeadlineExceededError: The ``deadline`` of `VM.open_session` has passed.
        """
        work = self._async.open()
        self._lease.call(work)
        return self

    def close(self, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Delete the session; what runs in it is stopped.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session (any more).
        """
        work = self._async.close(deadline=deadline)
        return self._lease.call(work)

    def refresh(self, *, deadline: float | None = None) -> Self:
        """This session, with its fields read anew.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session (any more).
        """
        work = self._async.refresh(deadline=deadline)
        self._lease.call(work)
        return self

    # --- commands -------------------------------------------------------------------------------------------------

    def run(
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
        """Run a command in this session, and wait for it. See `VM.run` for the arguments and errors."""
        work = self._async.run(
            command,
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
        return self._lease.call(work)

    def start(
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
    ) -> arker_sync.RunHandle:
        """Start a command in this session, without waiting for it. See `VM.start` for the arguments and errors."""
        work = self._async.start(
            command,
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


__all__ = ["SessionHandle"]
