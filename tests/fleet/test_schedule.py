"""The plans of a fleet, pure: order and bound of outcomes, when forking is hopeless, what an error says about a VM."""

from __future__ import annotations

import random

import pytest

from arker import FleetOutcome, NetworkError, NotFoundError, VMGoneError
from arker._fleets.schedule import AHEAD, AHEAD_IN_ORDER, Schedule, is_hopeless, verdict


def drained(schedule: Schedule[int]) -> list[int]:
    results: list[int] = []
    while schedule.ready:
        results.append(schedule.take())
    return results


def test_results_come_as_they_are_finished() -> None:
    schedule: Schedule[int] = Schedule(vms=3, ordered=False)
    assert [schedule.begin() for _ in range(3)] == [0, 1, 2]
    assert not schedule.ready
    for number in (2, 0, 1):
        schedule.finish(number, number)
    assert drained(schedule) == [2, 0, 1]


def test_results_come_in_order() -> None:
    schedule: Schedule[int] = Schedule(vms=100, ordered=True)
    numbers = [schedule.begin() for _ in range(100)]
    random.Random(1).shuffle(numbers)
    came: list[int] = []
    for number in numbers:
        schedule.finish(number, number)
        came += drained(schedule)
        assert came == list(range(len(came)))
    assert len(came) == 100


def test_what_waits_for_one_that_never_comes() -> None:
    schedule: Schedule[int] = Schedule(vms=4, ordered=True)
    for _ in range(4):
        schedule.begin()
    for number in (3, 0, 2):
        schedule.finish(number, number)
    assert drained(schedule) == [0]
    schedule.skip_missing()
    assert drained(schedule) == [2, 3]


@pytest.mark.parametrize(("ordered", "ahead"), [(False, AHEAD), (True, AHEAD_IN_ORDER)])
def test_no_more_is_begun_than_is_taken(ordered: bool, ahead: int) -> None:
    schedule: Schedule[int] = Schedule(vms=5, ordered=ordered)
    while schedule.has_room:
        schedule.finish(schedule.begin(), 0)
    assert schedule.begun == 5 * ahead
    schedule.take()
    assert schedule.has_room
    schedule.begin()
    assert not schedule.has_room


def test_a_fleet_without_vms_has_room_for_one() -> None:
    assert Schedule(vms=0, ordered=False).has_room


@pytest.mark.parametrize(
    ("count", "at_least", "failed", "hopeless"),
    [(10, 10, 0, False), (10, 10, 1, True), (10, 7, 3, False), (10, 7, 4, True), (1, 1, 1, True)],
)
def test_when_forking_is_hopeless(count: int, at_least: int, failed: int, hopeless: bool) -> None:
    assert is_hopeless(count=count, at_least=at_least, failed=failed) is hopeless


def not_found(vm_id: str = "vm-1") -> NotFoundError:
    return NotFoundError("no", status=404, vm_id=vm_id)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def during(error: Exception, context: Exception) -> Exception:
    error.__context__ = context
    return error


class Several(Exception):
    """What groups of exceptions look like, those of libraries for Python 3.10 included."""

    def __init__(self, *exceptions: Exception) -> None:
        super().__init__("several")
        self.exceptions = exceptions


def in_a_circle() -> Exception:
    error, other = ValueError("a"), not_found()
    error.__cause__, other.__context__ = other, error
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a bug"), "lives"),
        (NetworkError("lost", vm_id="vm-1"), "lives"),
        (not_found(), "perhaps"),
        (not_found("vm-2"), "lives"),
        (VMGoneError("gone", vm_id="vm-1"), "gone"),
        (VMGoneError("gone", vm_id="vm-2"), "lives"),
        (caused(ValueError("wrapped"), not_found()), "perhaps"),
        (during(ValueError("meanwhile"), VMGoneError("gone", vm_id="vm-1")), "gone"),
        (Several(ValueError("a"), Several(not_found(), VMGoneError("gone", vm_id="vm-1"))), "gone"),
        (in_a_circle(), "perhaps"),
    ],
)
def test_what_an_error_says_about_a_vm(error: Exception, said: str) -> None:
    assert verdict(error, "vm-1") == said


def test_outcomes() -> None:
    good = FleetOutcome(index=1, item="a", vm="VM", value=b"secret", seconds=0.5)
    assert good.ok
    assert good.unwrap() == b"secret"
    assert "secret" not in repr(good)
    bad: FleetOutcome[str, str, bytes] = FleetOutcome(index=2, item="b", vm="VM", error=ValueError("no"))
    assert not bad.ok
    with pytest.raises(ValueError, match="no"):
        bad.unwrap()
