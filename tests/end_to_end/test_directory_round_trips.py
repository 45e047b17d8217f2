"""Directories of all kinds go into a VM of the embedded backend and come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from arker import AsyncVM
from tests.directories.round_trip import round_trip
from tests.directories.support import Model, models

pytestmark = pytest.mark.anyio


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,  # the long test is the one with new examples
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(first=models(), second=models())
async def test_what_goes_comes_back(vm: AsyncVM, tmp_path: Path, first: Model, second: Model) -> None:
    await round_trip(vm, tmp_path, first, second)
