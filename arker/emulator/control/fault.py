"""A fault that was set, as a test sees it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

from arker._basics.typing import Self
from arker.emulator.control.rules import Rule, rule_from_json
from arker.errors import EmulatorError

_COUNTS = ("fault_id", "seen", "fired")


class Channel(Protocol):
    """A sender of requests to the control endpoints."""

    url: str

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request. Returns the JSON object of the reply."""
        ...


class Fault:
    """A fault that is set. As a context manager it is removed at the end.

    Attributes:
        fault_id: The backend's id for it, as in the journal.
        rule: What it does, and to which requests. Its ``seed`` is the one in use.
        seen: Requests that it matched, as of the last `refresh` or `remove`.
        fired: Requests that it fired for, as of the same moment.
        active: Whether it was still set, as of the same moment.
    """

    def __init__(self, channel: Channel, members: dict[str, Any]) -> None:
        self._channel = channel
        self.fault_id = str(members["fault_id"])
        self.rule: Rule = rule_from_json({name: value for name, value in members.items() if name not in _COUNTS})
        self.seen = int(members["seen"])
        self.fired = int(members["fired"])
        self.active = True

    def __repr__(self) -> str:
        state = "" if self.active else ", removed"
        return f"<Fault {self.fault_id} {self.rule.action}: seen {self.seen}, fired {self.fired}{state}>"

    def refresh(self) -> Self:
        """Read the counts again. A removed fault keeps its last known counts."""
        self._update("GET")
        return self

    def remove(self) -> None:
        """Remove the fault and read its last counts. A second call does nothing. An effect that is already going on (a
        stall, a delay) continues.
        """
        if self.active:
            self._update("DELETE")
            self.active = False

    def _update(self, method: str) -> None:
        try:
            members = self._channel.call(method, f"faults/{self.fault_id}")
        except EmulatorError as error:
            if error.status != 404:
                raise
            self.active = False
        else:
            self.seen, self.fired = int(members["seen"]), int(members["fired"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.remove()
        except EmulatorError:
            if error is None:  # otherwise the test should report that error
                raise


__all__ = ["Channel", "Fault"]
