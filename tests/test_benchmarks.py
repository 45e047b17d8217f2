"""The choice of rows, the table of several runs, and flame graphs, as the benchmarks make them."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from benchmarks.measure import Bound, Row
from benchmarks.profiling import ALL, PROFILES, readable
from benchmarks.repeated import Repeated, markdown
from benchmarks.rows import GROUPS, ROWS, chosen


def row(ratio: float, *, ours: float = 0.02, unit: str = "s") -> Row:
    return Row(name="call", title="one|call", limit=0.01, ours=ours, ratio=ratio, unit="s" if unit == "s" else "B")


def test_rows_are_chosen_by_name_group_and_pattern() -> None:
    assert chosen(["page", "call"]) == ["page", "call"]
    assert chosen(["fleet*tls", "fleet1tls"]) == ["fleet1tls", "fleet20tls", "fleet100tls", "fleet300tls"]
    speed = chosen(["speed"])
    assert {"call", "calltls", "fanout300tls", "fleet1", "download", "vmlargelive"} < set(speed)
    assert len(speed) == len(set(speed))
    with pytest.raises(ValueError, match=r"no such row: walk; there are call, .*speed"):
        chosen(["call", "walk"])


def test_all_members_of_groups_are_rows() -> None:
    for members in GROUPS.values():
        for member in members:
            assert chosen([member])


# The limit of `page` is a library that only the extra `bench` has.
@pytest.mark.parametrize("name", [name for name in ROWS if name != "page"])
def test_each_row_has_a_function_that_takes_its_arguments(name: str) -> None:
    spec = ROWS[name]
    function = getattr(importlib.import_module(f"benchmarks.{spec.module}"), spec.function)
    inspect.signature(function).bind("http://127.0.0.1:1", *spec.arguments)


def test_a_table_of_several_runs_has_the_median_and_the_spread() -> None:
    bound = Bound(1.2)
    rows = [row(ratio, ours=ours).bounded(bound) for ratio, ours in ((1.1, 0.03), (1.5, 0.01), (1.15, 0.02))]
    assert markdown([Repeated(rows, bound)]).splitlines() == [
        "| row | work | limit | ours | from, to | ratio | from, to | bound | met |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| `call` | one/call | 10.0 ms | 20.0 ms | 10.0 ms to 30.0 ms | 1.15 | 1.10 to 1.50 | ≤ 1.2x | met (2 of 3) |",
    ]


def test_a_median_beyond_its_bound_is_said_to_miss_it() -> None:
    bound = Bound(0.015, "ours")
    rows = [row(3.0, ours=ours).bounded(bound) for ours in (0.014, 0.016, 0.018)]
    repeated = Repeated(rows, bound)
    assert not repeated.median.met
    assert markdown([repeated]).endswith("| ≤ 15.0 ms | **missed** (1 of 3) |")


def test_a_row_without_a_bound_has_no_verdict() -> None:
    line = markdown([Repeated([row(2.0, ours=3 * 1024 * 1024, unit="B")], None)]).splitlines()[-1]
    assert line.endswith("| 3.00 MiB | 3.00 MiB to 3.00 MiB | 2.00 | 2.00 to 2.00 |  |  |")


def frame(name: str, samples: int) -> str:
    return f'<g><title>{name} ({samples})</title><rect x="0%" fg:x="0" fg:w="{samples}"/><text x="1">{name}</text></g>'


def test_narrow_frames_are_left_out_of_a_flame_graph() -> None:
    drawing = (
        '<svg><text id="title" x="50%">../py-spy record -o drawn.svg</text><svg id="frames" total_samples="1000">'
        f"{frame('all', 1000)}{frame('seen', 8)}{frame('hidden', 7)}</svg></svg>"
    )
    shown = readable(drawing, "one call (after)")
    assert re.findall(r"<g><title>(\w+)", shown) == ["all", "seen"]
    assert '<text id="title" x="50%">one call (after)</text>' in shown
    with pytest.raises(ValueError, match="expected a flame graph"):
        readable("<svg></svg>", "one call")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("suffix", ["before", "after"])
def test_each_profile_is_there_before_and_after(name: str, suffix: str) -> None:
    text = Path(PROFILES, f"{name}-{suffix}.svg").read_text()
    assert text.count("<g><title>") > 20
    assert text.rstrip().endswith("</svg>")
