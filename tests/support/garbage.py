"""What code leaves behind that only the garbage collector would remove."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Generator
from contextlib import contextmanager
from types import FrameType

import pytest

from tests.support.waiting import some_turns


def _name(found: object) -> str:
    if isinstance(found, FrameType):
        return found.f_code.co_filename
    return f"{type(found).__module__}.{type(found).__name__}"


def _is_ours(name: str) -> bool:
    ours = ("arker.", "arker_sync.")
    return (any(f"/{each[:-1]}/" in name for each in ours) or name.startswith(ours)) and "emulator" not in name


@contextmanager
def no_garbage(caplog: pytest.LogCaptureFixture, *, but: Collection[str] = ()) -> Generator[None, None, None]:
    """Fail if the block leaves a circle of references with an object or a frame of ours in it.

    Args:
        caplog: The records of the log.
        but: The names of objects that may be left.
    """
    caplog.set_level(logging.WARNING, "arker")  # records of the log keep the errors that they are about
    gc.collect()
    gc.disable()
    before = {id(each) for each in gc.get_objects()}  # clients of earlier tests may become garbage meanwhile
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        names = [_name(each) for each in gc.garbage if id(each) not in before]
        found = Counter(name for name in names if _is_ours(name) and name not in but)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found, found


async def assert_leaves_nothing(
    use: Callable[[], Awaitable[object]], caplog: pytest.LogCaptureFixture, *, but: Collection[str] = ()
) -> None:
    """Fail if a use leaves something to the garbage collector. It is done twice: what it prepares at first may stay."""
    await use()
    await some_turns()
    with no_garbage(caplog, but=but):
        await use()
        await some_turns()


async def fails(work: Awaitable[object], kind: type[BaseException]) -> None:
    """Await work that fails. pytest's own function keeps the error for a while."""
    try:
        await work
    except kind:
        return
    pytest.fail("it did not fail")


__all__ = ["assert_leaves_nothing", "fails", "no_garbage"]
