"""A server that has moved on, and one whose replies drift: nothing is lost, and nothing waits without an end."""

from __future__ import annotations

import inspect
import sys
from types import CodeType, FrameType
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, seed, settings

from arker import ArkerError, AsyncArker, AsyncFleet, AsyncReadStream, AsyncRun, AsyncSession, AsyncTunnel, AsyncVM
from tests.drift.drawing import plans
from tests.drift.held import Operation
from tests.drift.operations import EXEMPT, OPERATIONS, methods
from tests.drift.plans import Plan, pasted
from tests.drift.play import hurried, play
from tests.support.length import cases, times
from tests.support.server import ServerThread

OWNERS: Final = (AsyncArker, AsyncVM, AsyncRun, AsyncSession, AsyncTunnel, AsyncFleet, AsyncReadStream)
SHARES: Final = 4
"""Tests that the examples are dealt out to, so that they go on side by side."""
PATIENT: Final = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
EXAMPLES: Final = times(6_000, suite=240) // SHARES


@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_is_lost(server_thread: ServerThread, share: int, request: pytest.FixtureRequest) -> None:
    """With ``--soak-seed``, other examples."""

    @seed(f"{request.config.option.soak_seed} {share}")
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=PATIENT)
    @given(plan=plans())
    def examples(plan: Plan) -> None:
        note(f"play it again: python -m tests.drift.play {str(plan)!r}")
        with hurried():
            wrong, error, _ = play(plan, server_thread, patience=2.0)
        note(f"it ended with {error!r}")
        assert wrong == [], plan

    examples()


def test_plans_can_be_pasted() -> None:
    @settings(max_examples=50, deadline=None, derandomize=True, database=None)
    @given(plan=plans())
    def examples(plan: Plan) -> None:
        assert pasted(repr(plan)) == plan

    examples()


@pytest.mark.parametrize(("slow", "older"), cases([(False, False), (True, True)], rest=[(True, False), (False, True)]))
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_service_that_does_not_drift(
    server_thread: ServerThread, operation: Operation, slow: bool, older: bool
) -> None:
    """What the older generation alone has is not there; all else works, and the table tells what it goes through."""
    plan = Plan(operation.name, slow=slow, older=older, presigned=older)
    called: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        wrong, error, service = play(plan, server_thread, patience=60.0)
    finally:
        sys.setprofile(before)
    assert wrong == []
    if operation.older and not older:
        assert isinstance(error, ArkerError)
        assert error.status == 404
        return
    assert error is None
    assert set(service.asked) <= set(operation.requests), "all that it asks for may drift"
    owners = {owner.__name__: owner for owner in OWNERS}
    for covered in operation.covers:
        owner, _, name = covered.partition(".")
        assert inspect.unwrap(getattr(owners[owner], name)).__code__ in called, f"{covered} was not called"


def test_every_operation_is_here() -> None:
    covered = {name for operation in OPERATIONS for name in operation.covers}
    public = {name for owner in OWNERS for name in methods(owner)}
    assert sorted(public - covered - set(EXEMPT)) == []
    assert sorted(set(EXEMPT) - public) == []
