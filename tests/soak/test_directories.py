"""Directories of all kinds, into VMs of the embedded backend and back; and transfers of them that are given up."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, given, seed, settings

from arker import AsyncVM
from tests.directories.giving_up import give_up
from tests.directories.round_trip import round_trip
from tests.directories.support import PATIENT, Model, models
from tests.end_to_end.conftest import ar as ar  # the fixtures
from tests.end_to_end.conftest import vm as vm
from tests.soak.conftest import Soak

pytestmark = pytest.mark.anyio

ROUND_TRIPS = 60
CANCELLATIONS = 40


async def test_what_goes_comes_back(soak: Soak, vm: AsyncVM, tmp_path: Path) -> None:
    @seed(soak.rng.getrandbits(32))
    @settings(
        max_examples=soak.times(ROUND_TRIPS),
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.target],
        suppress_health_check=PATIENT,
    )
    @given(first=models(), second=models())
    def choose(first: Model, second: Model) -> None:
        chosen.append((first, second))

    chosen: list[tuple[Model, Model]] = []
    choose()
    assert len(chosen) >= soak.times(ROUND_TRIPS)
    for first, second in chosen:
        await round_trip(vm, tmp_path, first, second)


async def test_given_up_at_any_moment(soak: Soak, vm: AsyncVM, tmp_path: Path) -> None:
    seen = await give_up(vm, tmp_path, soak.rng, times=soak.times(CANCELLATIONS, at_least=4))
    print(seen)
    assert seen["up: cancelled"] > 0
    assert seen["down: cancelled"] > 0
