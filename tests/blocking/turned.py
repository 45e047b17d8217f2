"""A blocking client that is used as the async one is, so that one program drives both.

Each call is carried out at once, in the thread of the running event loop, and what it gives can be awaited, iterated
and entered as what the async client gives.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import GenericAlias, TracebackType
from typing import Any, TypeGuard, cast

import arker
from arker import AsyncArker
from arker_sync import Arker
from arker_sync._bridge.facade import Facade


def as_async(client: Arker) -> AsyncArker:
    """Return the client with the interface of an async one."""
    return cast("AsyncArker", _Turned(client))


class _Turned:
    """An object of the blocking surface."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._twin = next(
            cls
            for name in arker.__all__
            # On Python 3.10, aliases such as list[int] are taken for classes.
            if inspect.isclass(cls := getattr(arker, name)) and not isinstance(cls, GenericAlias)
            if isinstance(target._async, cls)
        )

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, "close" if name == "aclose" else name)
        member = inspect.getattr_static(self._twin, name, None)
        if not callable(value) or isinstance(member, property):
            return _turned(value)

        def call(*arguments: Any, **options: Any) -> Any:
            result = value(*map(_straight, arguments), **{key: _straight(each) for key, each in options.items()})
            return _Given(_turned(result)) if asyncio.iscoroutinefunction(member) else _turned(result)

        return call

    def __repr__(self) -> str:
        return repr(self._target)

    def straight(self) -> Any:
        """Return the object itself."""
        return self._target

    def __len__(self) -> int:
        return len(self._target)

    def __contains__(self, item: object) -> bool:
        return _straight(item) in self._target

    def __iter__(self) -> Iterator[Any]:
        return map(_turned, self._target)

    async def __aenter__(self) -> _Turned:
        self._target.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        return self._target.__exit__(kind, error, traceback)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _Items(iter(self._target))


class _Given:
    """What a call gave, to be awaited."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self._value


class _Items(AsyncIterator[Any]):
    """An iterator, to be iterated by ``async for``."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    async def __anext__(self) -> Any:
        try:
            return _turned(next(self._items))
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        cast("Any", self._items).close()


def _turned(value: Any) -> Any:
    if isinstance(value, Facade):
        return _Turned(value)
    if _is_iterator(value):
        return _Items(value)
    if _is_tuple_of_handles(value):
        return tuple(_turned(each) for each in value)
    return [_turned(each) for each in value] if _is_list(value) else value


def _is_tuple_of_handles(value: object) -> TypeGuard[tuple[Facade, ...]]:
    members: tuple[object, ...] = value if _is_tuple(value) else ()
    return any(isinstance(each, Facade) for each in members)


def _is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    return type(value) is tuple


def _is_iterator(value: object) -> TypeGuard[Iterator[Any]]:
    return isinstance(value, Iterator)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _straight(value: Any) -> Any:
    if inspect.iscoroutinefunction(value):
        return blocking_function(value)
    return value.straight() if isinstance(value, _Turned) else value


def blocking_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Convert a handle's coroutine function that never suspends to an ordinary function."""

    def run(handle: Any, *arguments: Any) -> Any:
        work = function(_turned(handle), *arguments)
        try:
            work.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it awaited something else")

    return run


__all__ = ["as_async", "blocking_function"]
