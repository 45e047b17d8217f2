"""Control over a running backend from a test: its faults, its journal and its clock.

Calls are blocking requests over the loopback that take about a millisecond. The backend is a separate process, so
asynchronous tests may make them, too.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from arker.emulator.control.entries import Execution, Fork, RequestEntry, entry_from_json
from arker.emulator.control.faults import Faults
from arker.errors import EmulatorError, InvalidArgumentError

_PATIENCE: Final = 120.0  # seconds without a byte; the server has limits of its own for what it waits for
_SHIFT_MAXIMUM: Final = 10_000_000_000

T = TypeVar("T", RequestEntry, Execution, Fork)


class ControlChannel:
    """A sender of single requests to the control endpoints.

    Args:
        url: The backend's base URL.
        api_key: The backend's own API key.
        check: Called before a request, and after one that failed. It raises an error if the backend has ended.
    """

    def __init__(self, url: str, api_key: str, check: Callable[[], None] | None = None) -> None:
        parts = urlsplit(url)
        self.url = url
        self._host, self._port = parts.hostname or "", parts.port
        self._path = parts.path.rstrip("/") + "/emulator/"
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._check = check

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request. Returns the JSON object of the reply.

        Raises:
            EmulatorError: The backend does not answer, or refuses; ``status`` is the HTTP status.
        """
        status, raw = self._exchange(method, path, None if body is None else json.dumps(body))
        try:
            found: Any = json.loads(raw)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise EmulatorError(f"{self.url} is no embedded backend that can be controlled", status=status)
        reply = cast("dict[str, Any]", found)
        if status != 200:
            error = reply.get("error", reply)
            message = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else None
            raise EmulatorError(f"the embedded backend refuses: {message}", status=status)
        return reply

    def _exchange(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        # Imported late: a program that only starts a backend does not need it.
        from http.client import HTTPConnection, HTTPException

        if self._check is not None:
            self._check()
        # Use a new connection for each call: nothing is shared among threads, or with a child of this process.
        connection = HTTPConnection(self._host, self._port, timeout=_PATIENCE)
        try:
            connection.request(method, self._path + path, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as error:
            if self._check is not None:
                self._check()
            raise EmulatorError(f"the embedded backend at {self.url} does not answer: {error}") from error
        finally:
            connection.close()


class Journal:
    """The record of what the backend did. Entries are numbered (``seq``); the backend keeps the latest 20,000 requests
    and 10,000 entries of each other kind.
    """

    def __init__(self, channel: ControlChannel) -> None:
        self._channel = channel

    def __repr__(self) -> str:
        return f"<Journal of {self._channel.url}>"

    def requests(self, *, after: int = 0) -> tuple[RequestEntry, ...]:
        """Return the requests that reached the backend, in the order in which their outcomes were settled. Control
        requests are not included.

        Args:
            after: Only those with a greater ``seq``.
        """
        return self._read("requests", RequestEntry, after)

    def executions(self, *, after: int = 0) -> tuple[Execution, ...]:
        """Return the commands that were really started, oldest first.

        Args:
            after: Only those with a greater ``seq``.
        """
        return self._read("executions", Execution, after)

    def forks(self, *, after: int = 0) -> tuple[Fork, ...]:
        """Return the VMs that were really made, oldest first.

        Args:
            after: Only those with a greater ``seq``.
        """
        return self._read("forks", Fork, after)

    def clear(self) -> int:
        """Delete all entries. Returns how many there were. Numbering continues."""
        return int(self._channel.call("DELETE", "journal")["removed"])

    def _read(self, name: str, cls: type[T], after: int) -> tuple[T, ...]:
        if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < 10**15:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("after", after, "expected the seq of an entry, or 0")
        found: list[T] = []
        while True:
            reply = self._channel.call("GET", f"{name}?after={after}")
            page = [entry_from_json(cls, members) for members in reply[name]]
            found += page
            if not page or page[-1].seq >= reply["last"]:
                return tuple(found)
            after = page[-1].seq


class Clock:
    """The backend's clock, by which presigned URLs and idempotency keys expire. Timeouts of commands are real time."""

    def __init__(self, channel: ControlChannel) -> None:
        self._channel = channel

    def __repr__(self) -> str:
        return f"<Clock of {self._channel.url}>"

    def now(self) -> datetime:
        """Return the backend's current time, in UTC."""
        return _instant(self._channel.call("GET", "clock"))

    def shift(self, seconds: float) -> datetime:
        """Move the clock forward. Returns the new time. The clock never goes back.

        Args:
            seconds: By how much.
        """
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not number or not 0 <= seconds <= _SHIFT_MAXIMUM:
            raise InvalidArgumentError("seconds", seconds, f"expected seconds from 0 to {_SHIFT_MAXIMUM}")
        return _instant(self._channel.call("POST", "clock", {"shift": seconds}))

    def shifted(self) -> float:
        """Return how many seconds the clock is ahead of the machine's."""
        return float(self._channel.call("GET", "clock")["shift"])


def _instant(reply: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(reply["now"]).replace("Z", "+00:00"))


class Controlled(ABC):
    """The base of controlled backends, with faults, a journal and a clock. Their methods are blocking calls of about a
    millisecond. They raise `arker.errors.EmulatorError` when the backend does not answer.
    """

    @abstractmethod
    def _channel(self) -> ControlChannel:
        """Return the way to the backend's control interface."""

    @property
    def faults(self) -> Faults:
        """The faults: what goes wrong, and for which requests."""
        return Faults(self._channel())

    @property
    def journal(self) -> Journal:
        """The journal: what the backend did."""
        return Journal(self._channel())

    @property
    def clock(self) -> Clock:
        """The backend's clock, which can be moved forward."""
        return Clock(self._channel())


class Control(Controlled):
    """Control over a backend that was started elsewhere, such as by ``python -m arker.emulator``.

    `arker.emulator.Emulator` has the same three attributes.

    Args:
        url: Its base URL.
        api_key: Its own API key.

    Raises:
        InvalidArgumentError: The URL or the key is invalid.

    Example::

        control = Control(os.environ["ARKER_BASE_URL"], os.environ["ARKER_API_KEY"])
        with control.faults.error(operation="run", status=503):
            ...
    """

    def __init__(self, url: str, api_key: str) -> None:
        # An unusual URL is not shown: it may contain a key.
        if not isinstance(url, str) or not re.fullmatch(r"http://[A-Za-z0-9.\-\[\]:]+(/[!-~]*)?", url):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("url", "(not shown)", "expected a base URL, such as http://127.0.0.1:8000/api")
        try:
            _ = urlsplit(url).port
        except ValueError:
            raise InvalidArgumentError("url", url, "expected a port number from 0 to 65535") from None
        if not isinstance(api_key, str) or not re.fullmatch(r"[!-~]{1,512}", api_key):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("api_key", "(not shown)", "expected visible ASCII characters")
        self._only = ControlChannel(url, api_key)

    def __repr__(self) -> str:
        return f"<Control of {self._only.url}>"

    def _channel(self) -> ControlChannel:
        return self._only


__all__ = ["Clock", "Control", "ControlChannel", "Controlled", "Journal"]
