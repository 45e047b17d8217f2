"""`Pending`: what a call is about to give, to be awaited or entered."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar

from arker._basics.guidance import no_end
from arker._basics.pickling import refuse_to_be_pickled

P = ParamSpec("P")
T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class Pending(Coroutine[Any, Any, T], Generic[T]):
    """A handle that a call is about to give, as `AsyncArker.fork` does: await it, or enter it.

        vm = await ar.fork("ubuntu")

        async with ar.fork("ubuntu") as vm:
            await vm.run("echo hi")

    Entering awaits the handle and enters its own block: that of a VM deletes the VM at its end. It is a coroutine, so
    that `asyncio.create_task`, `asyncio.gather` and task groups take it. Nothing is sent before it is awaited or
    entered, and it can be awaited or entered once.
    """

    __slots__ = ("__weakref__", "_coroutine", "_handle")
    __reduce__ = refuse_to_be_pickled

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        """Wrap the coroutine that gives the handle."""
        self._coroutine = coroutine

    def __repr__(self) -> str:
        return f"<Pending {getattr(self._coroutine, '__qualname__', self._coroutine)}>"

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> T:
        self._handle = await self._coroutine
        await self._handle.__aenter__()
        return self._handle

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._handle.__aexit__(exc_type, exc, traceback)

    # --- what event loops ask of a coroutine --------------------------------------------------------------------

    def send(self, value: Any, /) -> Any:
        """Run the coroutine until it waits again."""
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an exception in the coroutine where it waits, and run it until it waits again."""
        try:
            return self._coroutine.throw(*error)
        finally:
            del error  # its traceback has this frame

    def close(self) -> None:
        """Close the coroutine where it waits."""
        self._coroutine.close()

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            self.close()  # else Python warns as well that it was never awaited
            call = f"{self._coroutine.__name__}(…)"
            raise TypeError(f"{call} takes `async with`, as in `async with {call} as vm`; `with` is for arker_sync")

        __exit__ = no_end

        def __getattr__(self, name: str) -> Any:
            if name in ("__name__", "__qualname__") or name.startswith("cr_"):
                return getattr(self._coroutine, name)
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                call = f"{self._coroutine.__name__}(…)"
                message += (
                    f": await what the call gives (`vm = await {call}`), or enter it (`async with {call} as vm`);"
                )
                message += " arker_sync has the same without await"
            raise AttributeError(message, name=name, obj=self)


def pending(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Pending[T]]:
    """Let what a coroutine function returns be entered as well as awaited.

    At run time it still looks like a coroutine function, whose annotation is what the coroutine gives.
    """

    @wraps(function)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Pending[T]:
        return Pending(function(*args, **kwargs))

    _mark(begin)
    return begin


def _mark(function: Any) -> None:
    """Have a function that returns a coroutine taken for a coroutine function: by mocks with a spec, for example."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    elif sys.version_info >= (3, 11):
        # `inspect` looks at this flag alone. The interpreter does not: coroutines have an instruction that makes them.
        code = function.__code__
        function.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    else:
        # `inspect` cannot be told. Of those that ask asyncio, such as mocks and web frameworks, each has loaded it.
        marker = getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)
        if marker is not None:
            function._is_coroutine = marker


__all__ = ["Pending", "pending"]
