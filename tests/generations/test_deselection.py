"""A test is left out of a run in one generation only for a reason that stands in `tests.support.generations`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.generations import GENERATIONS, LACKS, lack

_TESTS = Path(__file__).parents[1]
_MARK = re.compile(r"pytest\.mark\.needs\(\"([^\"]+)\"\)")


def test_what_is_needed_is_lacked_somewhere() -> None:
    needed = {name for path in _TESTS.rglob("*.py") for name in _MARK.findall(path.read_text("utf-8"))}
    assert needed == {name for lacks in LACKS.values() for name in lacks}
    assert list(LACKS) == list(GENERATIONS)
    with pytest.raises(ValueError, match="no generation lacks 'nothing'"):
        lack("1", "nothing")


def test_the_default_run_leaves_nothing_out() -> None:
    assert not LACKS["both"]
    for name, reason in LACKS["1"].items():
        assert lack("1", name) == reason
        assert lack("both", name) is None
        assert lack("0.5", name) is None
