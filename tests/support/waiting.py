"""Waiting for what a test expects, instead of for a time in which it ought to have happened: a machine may be busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:  # the process that programs are forked from loads this, and has no use for it
    import pytest

PATIENCE: Final = 120.0
"""Seconds. Only a test that fails waits so long."""


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as a condition holds."""
    over = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < over, "it has not happened"
        await anyio.sleep(0.005)


def block_until(condition: Callable[[], object]) -> None:
    """Return as soon as a condition holds that other threads or processes bring about."""
    over = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < over, "it has not happened"
        time.sleep(0.005)


def longer_and_longer(first: float) -> Iterator[float]:
    """Give bounds in seconds, each four times the one before.

    For a bound that must not pass before something has happened: where the machine was too busy for that, the test
    tries the next one.
    """
    seconds = first
    while seconds <= 4 * PATIENCE:
        yield seconds
        seconds *= 4
    raise AssertionError("it has not happened, however long the bound")


async def some_turns() -> None:
    """Let everything in this loop that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def put_forward(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Put the running loop's clock forward: what is due within these seconds is due now, and was not before.

    That is a deadline, and not the bound on idle connections, which is 60 seconds by default.
    """
    loop = asyncio.get_running_loop()
    clock = loop.time
    patch.setattr(loop, "time", lambda: clock() + seconds)
    await some_turns()


def cancel_when(scope: anyio.CancelScope, condition: Callable[[], object]) -> asyncio.Task[None]:
    """Cancel a scope as soon as a condition holds."""

    async def wait() -> None:
        await until(condition)
        scope.cancel()

    return asyncio.create_task(wait())
