"""Runs of commands (contract, sections 4 and 5)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._page import Page
from arker.models._reply import Reply, declared
from arker.models.network import NetworkRequest, network_request
from arker.models.tunnel import Tunnel

RunState: TypeAlias = Literal["pending", "running", "completed", "failed", "cancelled"]
ResourceKind: TypeAlias = Literal["cpu", "memory", "disk"]
_RESOURCES = ("cpu", "memory", "disk")


class _TextViews:
    """The outputs of a run as text."""

    __slots__ = ()
    stdout: bytes
    stderr: bytes

    @property
    def stdout_text(self) -> str:
        """Standard output decoded as UTF-8; invalid bytes become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def stderr_text(self) -> str:
        """Standard error decoded as UTF-8; invalid bytes become U+FFFD."""
        return self.stderr.decode("utf-8", "replace")


@frozen(kw_only=True)
class RunSummary(Reply):
    """A run without its output.

    Attributes:
        run_id: The run's id.
        session_id: The id of the run's session.
        command: The command.
        state: ``pending`` (it waits for its session or VM), ``running``, ``completed`` (the command ran, whatever its
            exit code), ``failed`` (the platform could not run or finish it) or ``cancelled``; an unknown state is kept
            unchanged.
        started_at: Start time (RFC 3339, UTC).
        completed_at: End time (RFC 3339, UTC).
        exit_code: The command's exit code; None if there is none yet.
        fail_reason: Why the run failed; None if it did not.
    """

    run_id: str
    session_id: str | None = None
    command: str | None = None
    state: RunState | str | None = declared()
    started_at: str | None = declared()
    completed_at: str | None = None
    exit_code: int | None = None
    fail_reason: str | None = None
    vm_id: str | None = None
    vm_name: str | None = None
    source_org_id: str | None = None
    region: str | None = None
    provider: str | None = None


@frozen(kw_only=True)
class Run(RunSummary, _TextViews):
    """A run with its output so far. While it runs, its outputs grow from one read to the next.

    Attributes:
        stdout: Standard output, as bytes.
        stdout_encoding: Encoding of standard output in the reply.
        stderr: Standard error, as bytes.
        stderr_encoding: Encoding of standard error in the reply.
        tunnels: The tunnels that it opened.
        retry_count: Number of times that the platform resumed the run (durable VMs).
    """

    stdout: bytes = declared(b"")
    stdout_encoding: str = declared("utf-8")
    stderr: bytes = declared(b"")
    stderr_encoding: str = declared("utf-8")
    tunnels: tuple[Tunnel, ...] = ()
    retry_count: int = 0


_NO_SUCCESS: Final = ("failed", "cancelled", "running", "pending")


@frozen(kw_only=True)
class CompletedRunResult(Reply, _TextViews):
    """The reply to a run in the foreground.

    Attributes:
        type: ``completed``, unlike that of `BackgroundRunResult`.
        run_id: The run's id; None if the reply acknowledges another operation, such as a signal.
        session_id: The id of the run's session; None if the server does not report it.
        state: ``completed``, ``failed`` or ``cancelled``.
        stdout: Standard output as bytes; ``stdout_text`` is the decoded text.
        stderr: Standard error as bytes; ``stderr_text`` is the decoded text.
        stdout_encoding: Encoding of standard output in the reply.
        stderr_encoding: Encoding of standard error in the reply.
        exit_code: The command's exit code (128 + n for death by signal n); None or -1 if there is none.
        fail_reason: Why the run failed; None if it did not. If the server gives no reason, as in generation 1 of the
            API, and the ``timeout`` of the call has passed, the client says so here. Of a run in the background it
            knows that only by the handle that started it.
        dispatch: Data that the SDK does not interpret.
    """

    type: Literal["completed"] = field(default="completed", init=False)
    run_id: str | None = None
    session_id: str | None = None
    state: RunState | str = "completed"
    stdout: bytes
    stdout_encoding: str = declared("utf-8")
    stderr: bytes
    stderr_encoding: str = declared("utf-8")
    exit_code: int | None = declared(nullable=True)
    fail_reason: str | None = None
    dispatch: object = None

    @property
    def ok(self) -> bool:
        """Whether the command has succeeded: it exited with 0. With ``check=True`` a call raises an error otherwise."""
        # A server may have other words for success; it has none for an exit code.
        return self.exit_code == 0 and self.state not in _NO_SUCCESS

    @property
    def timed_out(self) -> bool:
        """Whether the command was killed because its ``timeout`` had passed, as far as its ``fail_reason`` says."""
        return self.state != "completed" and self.fail_reason is not None and "timeout" in self.fail_reason


@frozen(kw_only=True)
class BackgroundRunResult(Reply):
    """The reply to a run in the background.

    Attributes:
        type: ``background``, unlike that of `CompletedRunResult`.
        run_id: The run's id: read it with ``get_run``, cancel it with ``cancel_run``.
        session_id: The id of the run's session; None if the server does not report it.
        state: ``running``, usually.
        tunnels: The tunnels that it opened.
    """

    type: Literal["background"] = field(default="background", init=False)
    run_id: str
    session_id: str | None = None
    state: RunState | str = "running"
    tunnels: tuple[Tunnel, ...] = ()


RunResult: TypeAlias = CompletedRunResult | BackgroundRunResult


@frozen(kw_only=True)
class ListRunsResponse(Page[RunSummary], Reply):
    """A page of runs, newest first. There are more pages while ``next_cursor`` is set."""

    runs: tuple[RunSummary, ...]
    next_cursor: str | None = None

    def _items(self) -> tuple[RunSummary, ...]:
        return self.runs


@frozen(kw_only=True)
class CancelRunResponse(Reply):
    """The reply to the cancellation of a run."""

    cancelled: bool = declared(True)


def command_line(value: str | Sequence[str]) -> str:
    """Return a command as one line for the shell; a list of arguments is quoted for it."""
    if isinstance(value, str):
        return value
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidArgumentError("command", value, "expected a string, or a list of strings to quote for the shell")
    given: list[object] = [*value]
    arguments: list[str] = []
    for index, argument in enumerate(given):
        if not isinstance(argument, str):
            raise InvalidArgumentError(f"command[{index}]", argument, "expected a string")
        arguments.append(argument)
    return shlex.join(arguments)


def _resources(argument: str, value: object) -> str:
    kinds = value.split(",") if isinstance(value, str) else value
    if check.is_array(kinds):
        names = [kind.strip() if isinstance(kind, str) else "" for kind in kinds]
        if names and all(name in _RESOURCES for name in names):
            # Always in the same order: a set has no order, and a repeated request must be identical byte for byte.
            return ",".join(kind for kind in _RESOURCES if kind in names)
    raise InvalidArgumentError(argument, value, f"expected one or more of {', '.join(_RESOURCES)}")


def _timeout(argument: str, value: float) -> float:
    # Converted to exact JSON types: numpy's floats are subclasses. Newer servers accept only whole seconds.
    seconds = check.check_seconds(argument, value)
    return int(seconds) if seconds.is_integer() else seconds


MOST_IN_FOREGROUND: Final = 300
"""Seconds for which a server of generation 1 keeps a run in the foreground."""


def _time_to_background(value: float | None) -> int | None:
    return None if value is None else check.check_whole_seconds("time_to_background", value, most=MOST_IN_FOREGROUND)


def _queueing_timeout(value: float | None) -> int | None:
    return None if value is None else check.check_whole_seconds("queueing_timeout", value)


def _signal(argument: str, value: str) -> str:
    """Convert a signal's name to the spelling that all servers accept, such as ``SIGINT``."""
    name = check.check_text(argument, value, what="the name of a signal, such as SIGINT").strip().upper()
    return name if name.startswith("SIG") else f"SIG{name}"


def _background(argument: str, value: bool) -> bool | None:
    return check.check_boolean(argument, value) or None


def _acquire(value: str | Sequence[ResourceKind] | None) -> str | None:
    return None if value is None else _resources("acquire", value)


def _release(value: str | Sequence[ResourceKind] | None) -> str | None:
    return None if value is None else _resources("release", value)


def _network(value: NetworkRequest | Mapping[str, Any] | None) -> NetworkRequest | None:
    return None if value is None else network_request("network", value)


_OPTIONAL: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "session_id": check.check_id,
    "session_idx": check.at_least(0),
    "background": _background,
    "timeout": _timeout,
    "end_symbol": check.check_text,
    "vcpu_count": check.check_vcpus,
    "memory_mib": check.at_least(1),
    "disk_mib": check.at_least(1),
    "signal": _signal,
}
"""Fields that few runs have, with the functions that check them and return their value on the wire. They are looked at
together: a validator or converter for each would be called for each run."""
_optional: Final = attrgetter(*_OPTIONAL)
_NONE_GIVEN: Final = (None,) * len(_OPTIONAL)
_OF_A_COMMAND: Final = ("background", "time_to_background", "timeout", "end_symbol", "network")
"""Fields that say how a command runs."""
_INSTEAD: Final = ("acquire", "release", "vcpu_count", "memory_mib", "disk_mib")
"""Fields that need no command beside them."""


@frozen(kw_only=True)
class RunRequest:
    """The request of `POST /v1/vms/{id}/runs`.

    Attributes:
        command: The command: a line for the shell, or a list of arguments, which is quoted for the shell.
        session_id: The session to run in; the VM's default session if neither this nor the index is given.
        session_idx: The session's number; the id takes precedence.
        background: Whether the reply comes immediately instead of at the end of the command; sent only if true.
        timeout: Seconds after which the server kills the command; None for no limit.
        end_symbol: Passed to the server unchanged; the server uses ``auto`` if it is absent.
        vcpu_count: CPUs from this run on, 255 at most.
        memory_mib: Memory from this run on, in MiB.
        disk_mib: Disk from this run on, in MiB.
        network: Ports to open for the run.
        acquire: Resources to warm up before the run: ``cpu``, ``memory``, ``disk``, as a list or joined by commas.
        release: Resources to release after the run.
        signal: Signal (``SIGINT`` or ``INT``, ...) to send to the session's current command instead of running one.
        time_to_background: Seconds, 300 at most, after which the reply comes although the command goes on.
        queueing_timeout: Seconds for which the server may wait for capacity; 0 means not at all.
    """

    command: str = field(converter=command_line)
    session_id: str | None = None
    session_idx: int | None = None
    background: bool | None = None
    timeout: float | None = None
    end_symbol: str | None = None
    vcpu_count: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    network: NetworkRequest | None = field(default=None, converter=_network)
    acquire: str | None = field(default=None, converter=_acquire)
    release: str | None = field(default=None, converter=_release)
    signal: str | None = None
    time_to_background: int | None = field(default=None, converter=_time_to_background)
    queueing_timeout: int | None = field(default=None, converter=_queueing_timeout)

    def __attrs_post_init__(self) -> None:
        if _optional(self) != _NONE_GIVEN:
            check.check_given(self, _OPTIONAL)
        if self.time_to_background is not None and self.background:
            raise InvalidArgumentError("time_to_background", self.time_to_background, "expected it without background=")
        if "\0" in self.command or (not self.command.strip() and not self._has_another_action()):
            raise InvalidArgumentError("command", self.command, "expected a command that is not blank, without NUL")
        try:
            self.command.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError("command", self.command, "expected text without lone surrogates") from None
        if self.signal is not None or not self.command.strip():
            self._refuse_without_effect()

    def _refuse_without_effect(self) -> None:
        """Refuse what has no effect, since the request starts no command."""
        if self.signal is not None and self.command.strip():
            expected = f"expected an empty one with signal={self.signal!r}, which goes to the command that is running"
            raise InvalidArgumentError("command", self.command, expected)
        for name in _OF_A_COMMAND if self.signal is None else (*_OF_A_COMMAND, *_INSTEAD):
            value: object = getattr(self, name)
            if value is not None:
                raise self.without_effect(name, value)

    def without_effect(self, argument: str, value: object) -> InvalidArgumentError:
        """Return the error for an argument that has no effect, since the request starts no command."""
        if self.signal is None:
            return InvalidArgumentError("command", self.command, f"expected one that is not blank with {argument}=")
        return InvalidArgumentError(argument, value, f"expected it without signal={self.signal!r}")

    def _has_another_action(self) -> bool:
        """Return whether the request needs no command."""
        return self.signal is not None or any(getattr(self, name) is not None for name in _INSTEAD)


__all__ = [
    "BackgroundRunResult",
    "CancelRunResponse",
    "CompletedRunResult",
    "ListRunsResponse",
    "ResourceKind",
    "Run",
    "RunRequest",
    "RunResult",
    "RunState",
    "RunSummary",
]
