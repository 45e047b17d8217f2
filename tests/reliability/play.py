"""Fills cells in: an operation, a fault, and what then came of it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import attrs
from attrs import define, field

from arker import ArkerError, AsyncArker, HttpTimeouts, RetryPolicy
from arker.emulator import Emulator
from tests.reliability.failures import IDLE, SILENCE, Failure
from tests.reliability.operations import Named, Operation, Scene
from tests.reliability.rules import Cell
from tests.support.forked import ForkedEmulator

ATTEMPTS: Final = 3
_POLICY: Final = RetryPolicy(attempts=ATTEMPTS, base_delay=0.002, max_delay=0.004, jitter=0.0)
_PATIENT: Final = HttpTimeouts(idle=60.0, silence=60.0)
_IMPATIENT: Final = HttpTimeouts(idle=IDLE, silence=SILENCE)
_PATIENCE: Final = 120.0
_PER_RESET: Final = 40
"""Cells after which the server is cleared."""


@define
class Player:
    """A server, a client that no fault reaches, and cells one after the other."""

    emulator: Emulator
    steady: AsyncArker
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1))

    async def play(self, operation: Operation, failure: Failure, *, always: bool) -> Cell:
        number = next(self._numbers)
        if number % _PER_RESET == 0:
            await self.emulator.areset()
        scene = Scene(self.emulator, self.steady, await self.steady.fork("ubuntu"), f"cell-{number}")
        if operation.prepare is not None:
            await operation.prepare(scene)
        self.emulator.journal.clear()
        timeouts = _IMPATIENT if failure.silent else _PATIENT
        async with AsyncArker(**self.emulator.client_options, retry=_POLICY, timeout=timeouts, ledger=False) as client:
            with failure.begin(self.emulator.faults, operation, always=always) as fault:
                said = await _ask(operation, scene, client)
            if fault.fired == 0:
                raise AssertionError(f"{operation.name}, {failure.name}: the fault did not fire")
        effects = None if operation.effects is None else await operation.effects(scene)
        if failure.goes_on and operation.decisive and operation.effects is not None:
            # What the server was doing when the connection ended is still to be done.
            with anyio.move_on_after(_PATIENCE):
                while effects == 0:
                    await anyio.sleep(0.005)
                    effects = await operation.effects(scene)
        return attrs.evolve(said, effects=effects)


async def _ask(operation: Operation, scene: Scene, client: AsyncArker) -> Cell:
    try:
        with anyio.fail_after(_PATIENCE):
            right = await operation.act(scene, client)
    except ArkerError as error:
        held = {"key": error.idempotency_key, "vm": error.vm_id, "run": error.run_id}
        names: frozenset[Named] = frozenset(name for name in ("key", "vm", "run") if held[name] is not None)
        return Cell(verdict="ArkerError", error=type(error).__name__, outcome=error.outcome, names=names)
    except Exception as error:
        return Cell(verdict="other", error=type(error).__name__)
    return Cell(verdict="result" if right else "wrong result")


@asynccontextmanager
async def playing() -> AsyncGenerator[Player, None]:
    """Return a player with its own server."""
    async with ForkedEmulator() as emulator, AsyncArker(**emulator.client_options, ledger=False) as steady:
        yield Player(emulator, steady)


__all__ = ["ATTEMPTS", "Player", "playing"]
