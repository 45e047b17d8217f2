"""What long tests share: how long they are, and the random numbers that decide what happens in them.

``--soak-scale 1`` is the whole length, as ``nox -s soak`` runs them; the suite runs a part. ``--soak-seed`` repeats
what a run that failed has done.
"""

from __future__ import annotations

import random

import pytest
from attrs import frozen


@frozen
class Soak:
    """How much of a long test is wanted.

    Attributes:
        scale: The share of the whole length.
        seed: What the random numbers of all tests come from.
        rng: Random numbers of the test's own.
    """

    scale: float
    seed: str
    rng: random.Random

    def seconds(self, whole: float) -> float:
        """Scale a length of time, given for the whole test."""
        return whole * self.scale

    def times(self, whole: int, *, at_least: int = 1) -> int:
        """Scale a number of rounds, given for the whole test."""
        return max(at_least, round(whole * self.scale))


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> Soak:
    """Return the length and random numbers of a long test. The seed is printed when it fails."""
    scale, seed = float(request.config.option.soak_scale), str(request.config.option.soak_seed)
    print(f"\nscale {scale:g}, --soak-seed {seed}")
    return Soak(scale=scale, seed=seed, rng=random.Random(f"{seed} {request.node.name}"))


__all__ = ["Soak"]
