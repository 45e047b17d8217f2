"""The choice of rows, the table of several runs, and flame graphs, as the benchmarks make them."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import TypeAlias

import pytest

from benchmarks.flames import Frame, drawn, read
from benchmarks.measure import Bound, Row
from benchmarks.profiling import ALL, PROFILES, kind_of
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


CLIENT = 'process 1:"python -c\nimport sys; sys.path 3\nfrom benchmarks.profiling import work\nwork() call"'
BACKEND = 'process 2:"python -c runpy ["/a", "/b"] --managed"'
SAMPLES = f"""{CLIENT};run (a.py:1);read (a.py:2) 40
{CLIENT};run (a.py:1);write (a.py:3) 5
{CLIENT};{BACKEND};serve (b.py:1) 20
{CLIENT};{BACKEND};process 3:"python -c runpy --managed";fork (b.py:2) 4
{CLIENT};{BACKEND};process 6:"bwrap --args 3" 50
{CLIENT};{BACKEND};process 4:"vm-agent";<module> (<string>:1) 20
{CLIENT};{BACKEND};process 5:"vm-agent";<module> (<string>:1) 10
{CLIENT};{BACKEND};process 5:"vm-agent";rare (c.py:1) 1
"""


Outline: TypeAlias = "tuple[int, dict[str, Outline]]"


def outline(frame: Frame) -> Outline:
    return frame.samples, {name: outline(inner) for name, inner in frame.inner.items()}


def test_processes_of_one_kind_are_one_in_a_profile() -> None:
    root = read(SAMPLES, kind_of)
    agents: Outline = (31, {"<module> (<string>:1)": (30, {}), "rare (c.py:1)": (1, {})})
    backend: Outline = (55, {"serve (b.py:1)": (20, {}), "fork (b.py:2)": (4, {}), "processes of VMs": agents})
    run: Outline = (45, {"read (a.py:2)": (40, {}), "write (a.py:3)": (5, {})})
    assert outline(root) == (100, {"the client": (100, {"run (a.py:1)": run, "the backend": backend})})
    assert root.depth == 5


def test_a_profile_without_processes_is_read_line_by_line() -> None:
    root = read("<module> (a.py:1);run (a.py:2) 3\n<module> (a.py:1) 1\n", kind_of)
    assert outline(root) == (4, {"<module> (a.py:1)": (4, {"run (a.py:2)": (3, {})})})


def test_narrow_frames_are_left_out_of_a_drawing() -> None:
    canvas = (
        '<svg><text id="title" x="50%">../py-spy record</text>'
        '<svg id="frames" x="10" total_samples="7"><g>dive</g></svg></svg>'
    )
    root = read("main (a.py:1);wide (a.py:2) 990\nmain (a.py:1);narrow (a.py:3) 7\n<b> 3\n", kind_of)
    svg = drawn(root, "one <call> (after)", canvas)
    found = re.findall(r'<title>([^<]*)</title><rect x="(\S+)%" y="(\d+)" width="(\S+)%" .*?fg:x="(\d+)"', svg)
    assert found == [
        ("all (1,000 samples, 100.00%)", "0.0000", "52", "100.0000", "0"),
        ("main (a.py:1) (997 samples, 99.70%)", "0.0000", "68", "99.7000", "0"),
        ("wide (a.py:2) (990 samples, 99.00%)", "0.0000", "84", "99.0000", "0"),
    ]
    assert 'total_samples="1000"' in svg
    assert "dive" not in svg
    assert '<text id="title" x="50%">one &lt;call&gt; (after)</text>' in svg
    with pytest.raises(ValueError, match="expected a flame graph of py-spy"):
        drawn(root, "one call", "<svg></svg>")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("suffix", ["before", "after"])
def test_each_profile_is_there_before_and_after(name: str, suffix: str) -> None:
    text = Path(PROFILES, f"{name}-{suffix}.svg").read_text()
    assert text.count("<g><title>") > 20
    assert text.rstrip().endswith("</svg>")
