"""Callbacks of blocking callers. None runs in the loop's thread, where a call back into the client would deadlock.

During a call its caller waits, so the callbacks of the call run in that caller's thread, in order and before the call
returns. Callbacks outside of any call run in a separate thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NoReturn, TypeGuard, TypeVar

import attrs

from arker._commands.sinks import Sink, sink_of
from arker._tasks.process import hand_in
from arker._transport.observer import Teller
from arker.errors import InvalidArgumentError
from arker.hooks import Hooks
from arker.models import _checks as check
from arker_sync._bridge.call import Errand, current_call, current_seat, seated
from arker_sync._bridge.outcomes import Failure, same

Event = TypeVar("Event")

logger = logging.getLogger("arker")


class _Thread:
    """A thread that runs errands one after the other; the first one starts it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Reset to an empty queue without a thread."""
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
                except RuntimeError:  # the interpreter is about to end, so callbacks are dropped
                    pass

    def _work(self) -> None:
        while True:
            # In no variable: a callback's event would stay in memory until the next one.
            try:
                self._queue.get()()
            except BaseException as error:  # by which a program's own thread would end; others still need this one
                logger.warning("a callback in a thread of its own raised %s", type(error).__name__, exc_info=True)


_thread: Final = _Thread()


def _deliver(teller: Teller, name: str, function: Callable[[Event], object], event: Event) -> None:
    errand = Errand(partial(teller.tell, name, function, event))
    call = current_call()
    if call is None or not call.post(errand):
        _thread.put(errand)


def relay(name: str, function: Any) -> Any:
    """Return the async client's version of a caller's callback.

    A value that is not a function is passed on, and the client refuses it.

    Args:
        name: The argument's name.
        function: The callback, or None.

    Raises:
        InvalidArgumentError: It is a coroutine function.
    """
    if not callable(function):
        return function
    check.check_function(name, function)  # the client sees only what stands for it
    return partial(_deliver, Teller(), name, function)


def relay_hooks(given: Any) -> Any:
    """Return the async client's version of a caller's hooks."""
    if not isinstance(given, Hooks):
        return given
    teller = Teller()
    wrapped = {
        name: partial(_deliver, teller, name, hook)
        for name in attrs.fields_dict(Hooks)
        if (hook := getattr(given, name)) is not None
    }
    return Hooks(**wrapped)


def relay_output(argument: str, value: Any) -> Any:
    """Return the async client's version of what takes a command's output: the pieces come in the caller's thread.

    Args:
        argument: The argument's name.
        value: A function, a file that is open for writing, or None.
    """
    sink = sink_of(argument, value)
    if sink is None:
        return None
    expected = "expected an ordinary function, or a file that is open for writing"
    awaited = (value, *(getattr(value, name, None) for name in ("write", "drain")))
    if any(map(inspect.iscoroutinefunction, awaited)):
        raise InvalidArgumentError(argument, value, expected)

    def put(piece: Any) -> None:
        done = sink.put(piece)
        if inspect.isawaitable(done):
            if inspect.iscoroutine(done):
                done.close()
            raise InvalidArgumentError(argument, value, f"{expected}; nothing awaits what this one returns")

    return Sink(partial(_hand_over, put), text=sink.text)


async def _hand_over(put: Callable[[Any], object], piece: Any) -> None:
    """Have a piece taken in the caller's thread, and wait for that. What it raises is raised by the call."""
    taken: asyncio.Future[Callable[[], Any]] = asyncio.get_running_loop().create_future()

    def take() -> None:
        try:
            put(piece)
        except Exception as error:
            _tell(taken, Failure(error))
        except BaseException:
            _tell(taken, _refuse)
            raise
        else:
            _tell(taken, partial(same, None))

    call = current_call()
    if call is None or not call.post(Errand(take, partial(_tell, taken, _refuse))):
        _thread.put(Errand(take))
    (await taken)()


# --- what a call asks for ---------------------------------------------------------------------------------------------


def feed(source: Any) -> Any:
    """Return the async client's version of a caller's iterable, whose items are read in the caller's thread.

    Other accepted values (a list, a path, a file, bytes) are returned unchanged.
    """
    return _Fed(iter(source)) if _is_fed(source) else source


def _is_fed(source: object) -> TypeGuard[Iterable[Any]]:
    known = isinstance(source, Collection) or hasattr(source, "read")
    return isinstance(source, Iterable) and not known


class _Fed(AsyncIterator[Any]):
    """A blocking caller's iterator, for use in the loop."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    async def __anext__(self) -> Any:
        seat = current_seat()
        found: asyncio.Future[Callable[[], Any]] = asyncio.get_running_loop().create_future()
        if seat is None or not seat.give(Errand(partial(self._give, found), partial(_tell, found, _refuse))):
            _thread.put(Errand(partial(self._give, found)))
        return (await found)()

    def _give(self, found: asyncio.Future[Callable[[], Any]]) -> None:
        """Read an item in the caller's thread, or in the thread for callbacks outside of any call."""
        if found.done():
            return  # what has asked for it has ended meanwhile
        try:
            item = next(self._items)
        except StopIteration:
            _tell(found, _end)
        except Exception as error:
            _tell(found, Failure(error))
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

__all__ = ["feed", "relay", "relay_hooks", "relay_output", "seated"]
