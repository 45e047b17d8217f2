"""The one line by which the server's process says that it is ready, or why it could not start."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import Any

from arker._tasks import clock
from arker._tasks.running_loop import running_loop


class Answer:
    """The answer of a server's process, which any number of threads and tasks can wait for."""

    def __init__(self, descriptor: int) -> None:
        """Take over the reading end of the process's standard output."""
        self._output = os.fdopen(descriptor, "rb", buffering=0)
        self._answer: dict[str, Any] | None = None
        self._answered = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._listener: threading.Thread | None = None

    def listen(self) -> None:
        """Read the answer in a separate thread."""
        listener = threading.Thread(target=self._listen, name="arker-emulator-ready", daemon=True)
        listener.start()
        self._listener = listener

    def _listen(self) -> None:
        with self._output as output:
            line = b"".join(iter(lambda: output.read(65536), b""))  # the process closes it after the line
        try:
            answer = json.loads(line)
        except ValueError:
            answer = {}
        self._answer = answer if isinstance(answer, dict) else {}
        self._answered.set()
        for loop, over in tuple(self._waiting):
            try:
                loop.call_soon_threadsafe(_finish, over)
            except RuntimeError:  # the loop was closed meanwhile
                pass

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Return the answer; None if it does not come within the time."""
        self._answered.wait(seconds)
        return self._answer

    async def wait_async(self, seconds: float) -> dict[str, Any] | None:
        """Wait like `wait`. The wait may be cancelled."""
        if not self._answered.is_set():
            loop = running_loop()
            over: asyncio.Future[None] = loop.create_future()
            entry = loop, over
            self._waiting.append(entry)
            try:
                if not self._answered.is_set():  # the listener may have read the list just before
                    await clock.wait([over], seconds)
            finally:
                if entry in self._waiting:
                    self._waiting.remove(entry)
        return self._answer

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, within a bound."""
        if self._listener is not None:
            self._listener.join(seconds)

    def close(self) -> None:
        """Close the output of a process that is not listened to."""
        self._output.close()


def _finish(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


__all__ = ["Answer"]
