"""When a run is asked for what: pure, under a clock of the tests' own."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from arker._runs.poll import FREE_BYTES, FREE_RATE, LONGEST, PACE, SHORTEST, Planner, Question, pause

MIB = 1024 * 1024


@define
class Course:
    """What became of a run that was watched.

    Attributes:
        ended: When the planner's user knew that it had ended.
        reads: When it was read, and how large it was then.
        asked: How often only its end was asked for.
    """

    ended: float = 0.0
    reads: list[tuple[float, int]] = field(factory=list[tuple[float, int]])
    asked: int = 0

    @property
    def total(self) -> int:
        return sum(size for _, size in self.reads)


def watch(
    size: Callable[[float], int], seconds: float, *, weight: float = 1.0, planner: Planner | None = None
) -> Course:
    """Follow a run that has written ``size`` of the time, and ends after ``seconds``; each answer takes 5 ms."""
    planner = planner if planner is not None else Planner(0.0)
    course, now = Course(), 0.0
    while True:
        due, question = planner.next()
        now = max(now, due)
        ended, written = now >= seconds, size(min(now, seconds))
        now += 0.005
        if question is Question.ENDED:
            course.asked += 1
            planner.asked(now, ended=ended)
            continue
        course.reads.append((now, written))
        if ended:
            course.ended = now
            return course
        planner.read(now, size=written, cost=written * weight)


def allowance(seconds: float) -> float:
    return FREE_BYTES + FREE_RATE * seconds


@pytest.mark.parametrize("seconds", [0.5, 3.0, 30.0, 600.0])
@pytest.mark.parametrize("size", [200_000, 4 * MIB, 64 * MIB])
@pytest.mark.parametrize("weight", [1.0, 4 / 3])
def test_steady_output_costs_at_most_three_times_its_size(size: int, seconds: float, weight: float) -> None:
    course = watch(lambda now: int(size * now / seconds), seconds, weight=weight)
    assert course.total * weight <= 3 * size + allowance(course.ended)
    assert course.ended <= seconds + LONGEST + 0.05
    # It is seen while it comes, too, and not only at the end.
    assert sum(now < seconds for now, _ in course.reads) >= 3


def test_little_output_is_seen_soon() -> None:
    lines = [0.4, 1.1, 5.0, 9.5, 20.0, 20.1]
    course = watch(lambda now: sum(now >= moment for moment in lines) * 40, 30.0)
    for number, moment in enumerate(lines, 1):
        seen = next(now for now, size in course.reads if size >= number * 40)
        assert seen - moment <= LONGEST + 0.01
    assert course.total <= allowance(30.0)


def test_output_that_stops_is_not_read_again_and_again() -> None:
    course = watch(lambda now: int(min(now, 1.0) * 10 * MIB), 3600.0)
    assert course.total <= 4 * 10 * MIB + allowance(3600.0)
    assert course.asked > 1000
    assert course.ended <= 3600.0 + LONGEST + 0.05


def test_output_that_becomes_ever_slower() -> None:
    # Each expectation is too high here, and must not be followed by the next one.
    size = 64 * MIB
    course = watch(lambda now: int(size * (1 - math.exp(-now / 2))), 60.0)
    assert course.total <= 4 * size + allowance(60.0)


def test_large_output_is_not_read_back_to_back() -> None:
    course = watch(lambda _: 64 * MIB, 20.0, planner=Planner(0.0, witnessed=False))
    (first, _), (second, _), *_ = course.reads
    assert second - first >= 64 * MIB / PACE


def test_a_bound_on_the_delay_wins_over_the_cost() -> None:
    def size(now: float) -> int:
        return int(min(now, 1.0) * 10 * MIB + now)

    course = watch(size, 60.0, planner=Planner(0.0, max_delay=3.0))
    moments = [now for now, _ in course.reads]
    assert max(after - before for before, after in pairwise(moments)) <= 3.1
    assert len(watch(size, 60.0).reads) < len(moments) / 2


def test_the_end_is_noticed_soon() -> None:
    for seconds in (0.0, 0.05, 1.0, 10.0):
        course = watch(lambda _: 0, seconds)
        assert course.ended - seconds <= max(0.05, 0.2 * seconds)


def test_a_run_that_was_found_going_on_is_not_judged_by_its_first_reading() -> None:
    # It had written all of this before it was looked at, which says nothing of how quickly it writes.
    course = watch(lambda _: 8 * MIB, 20.0, planner=Planner(0.0, witnessed=False))
    assert course.total <= 3 * 8 * MIB + allowance(20.0)


def test_a_server_that_contradicts_itself_costs_little() -> None:
    planner, now, reads = Planner(0.0), 0.0, 0
    for _ in range(2000):
        due, question = planner.next()
        now = max(now, due)
        if now > 30:
            break
        if question is Question.ENDED:
            planner.asked(now, ended=True)
        else:
            reads += 1
            planner.read(now, size=5 * MIB, cost=5 * MIB)
    assert now > 30
    assert reads < 30


def test_pauses() -> None:
    assert (pause(0.0), pause(1000.0)) == (SHORTEST, LONGEST)
    assert SHORTEST < pause(3.0) < LONGEST


steps = st.lists(st.tuples(st.floats(0.0, 40.0), st.integers(0, 20 * MIB)), max_size=8)


@given(steps, st.floats(0.0, 60.0))
@settings(max_examples=60, deadline=None)
def test_whatever_the_output_does(bursts: list[tuple[float, int]], seconds: float) -> None:
    def size(now: float) -> int:
        return sum(amount for moment, amount in bursts if moment <= now)

    course = watch(size, seconds)
    final = size(seconds)
    # One more time its size at most, when it does not go on as a reading relied on.
    assert course.total <= 4 * final + allowance(course.ended)
    assert course.reads[-1][1] == final
    assert course.ended <= seconds + LONGEST + 0.05
