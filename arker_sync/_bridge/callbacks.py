"""Callbacks of blocking callers. None runs in the loop's thread, where calling back in would wait for itself.

While a call is going on its caller waits, so what the call has to tell is told in that caller's thread, in order and
before the call returns. What is told outside of every call comes in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NoReturn, TypeGuard, TypeVar

import attrs

from arker._tasks.process import hand_in
from arker._transport.observer import Teller
from arker.hooks import Hooks
from arker_sync._bridge.loop import Errand, current_call
from arker_sync._bridge.outcomes import fail, same

Event = TypeVar("Event")


class _Thread:
    """Runs errands one after the other; started by the first one."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Nothing is there, and no thread."""
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._started = False

    def put(self, errand: Errand) -> None:
        context = contextvars.copy_context()
        self._queue.put(partial(context.run, errand.do))
        with self._lock:
            if not self._started:
                try:
                    threading.Thread(target=self._work, name="arker-callbacks", daemon=True).start()
                    self._started = True
                except RuntimeError:  # the interpreter is about to end, and nobody looks on any more
                    pass

    def _work(self) -> None:
        while True:
            self._queue.get()()


_thread: Final = _Thread()


def _deliver(teller: Teller, name: str, function: Callable[[Event], object], event: Event) -> None:
    errand = Errand(partial(teller.tell, name, function, event))
    call = current_call()
    if call is None or not call.post(errand):
        _thread.put(errand)


def relay(name: str, function: Any) -> Any:
    """What the async client is given for a callback of the caller's; what is no function is left for it to refuse.

    Args:
        name: The argument's name.
        function: The callback, or None.
    """
    if not callable(function):
        return function
    return partial(_deliver, Teller(), name, function)


def relay_hooks(given: Any) -> Any:
    """What the async client is given for a caller's hooks."""
    if not isinstance(given, Hooks):
        return given
    teller = Teller()
    wrapped = {
        name: partial(_deliver, teller, name, hook)
        for name in attrs.fields_dict(Hooks)
        if (hook := getattr(given, name)) is not None
    }
    return Hooks(**wrapped)


# --- what a call asks for ---------------------------------------------------------------------------------------------


def feed(source: Any) -> Any:
    """What the async client is given for an iterable of the caller's: it is asked for its items in the caller's thread.

    Anything else that it takes there (a list, a path, a file, bytes) stays as it is.
    """
    return _Fed(iter(source)) if _is_fed(source) else source


def _is_fed(source: object) -> TypeGuard[Iterable[Any]]:
    known = isinstance(source, Collection) or hasattr(source, "read")
    return isinstance(source, Iterable) and not known


class _Fed(AsyncIterator[Any]):
    """An iterator of a blocking caller's, for the loop."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    async def __anext__(self) -> Any:
        call = current_call()
        found: asyncio.Future[Callable[[], Any]] = asyncio.get_running_loop().create_future()
        if call is None or not call.post(Errand(partial(self._give, found), partial(_tell, found, _refuse))):
            _thread.put(Errand(partial(self._give, found)))
        return (await found)()

    def _give(self, found: asyncio.Future[Callable[[], Any]]) -> None:
        """In the caller's thread, or in that of what is told outside of every call."""
        try:
            item = next(self._items)
        except StopIteration:
            _tell(found, _end)
        except Exception as error:
            _tell(found, partial(fail, error))
        except BaseException:
            _tell(found, _refuse)
            raise
        else:
            _tell(found, partial(same, item))


def _tell(found: asyncio.Future[Callable[[], Any]], what: Callable[[], Any]) -> None:
    def settle() -> None:
        if not found.done():
            found.set_result(what)

    try:
        found.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:  # the loop was closed
        pass


def _end() -> NoReturn:
    raise StopAsyncIteration


def _refuse() -> NoReturn:
    raise asyncio.CancelledError


hand_in("blocking callbacks", in_child=_thread.begin_anew)

__all__ = ["feed", "relay", "relay_hooks"]
