"""Nothing is doubled, lost or left behind by the client when the server misbehaves."""

from __future__ import annotations

import pytest

from arker.emulator import EmulatorOptions
from tests.reliability.failures import FAILURES
from tests.reliability.matrix import differences, find_out, some
from tests.reliability.operations import OPERATIONS
from tests.reliability.rounds import play
from tests.reliability.table import PAGE, parse, places, render
from tests.soak.conftest import Soak

pytestmark = pytest.mark.anyio

ROUNDS = 2000


async def test_operations_and_faults(soak: Soak) -> None:
    wanted = some(soak.scale, soak.rng)
    assert {place[0] for place in wanted} == {operation.name for operation in OPERATIONS}
    assert {place[1] for place in wanted} == {failure.name for failure in FAILURES}
    findings = await find_out(wanted)
    print(f"{len(findings.cells)} cells")
    assert findings.violations == []
    assert differences(findings.cells, PAGE.read_text("utf-8")) == []


def test_the_page_holds_every_cell() -> None:
    page = PAGE.read_text("utf-8")
    cells = parse(page)
    assert set(cells) == set(places())
    assert render(cells) == page


@pytest.mark.parametrize(
    "options",
    # In generation 1 a run is answered before its end where it takes longer than the window.
    [EmulatorOptions(), EmulatorOptions(generation="1", foreground_window=0.05)],
    ids=["both", "generation 1"],
)
async def test_programs_under_faults(soak: Soak, options: EmulatorOptions) -> None:
    report = await play(soak.times(ROUNDS), soak.rng, options)
    print(report)
    assert report.faults == []
    # Otherwise all of the above would be of little worth. By chance, few rounds may have few of each.
    assert report.counts["faults that fired"].total() > report.rounds / 40
    assert report.counts["operations"].total() > report.rounds * 2
    assert report.counts["cancelled"].total() > report.rounds / 40
