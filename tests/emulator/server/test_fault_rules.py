"""Rules of faults: what they take, which requests they match, when they fire. Nothing here runs a loop."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from arker.emulator.control import _checks as checks
from arker.emulator.control import rules
from arker.emulator.control.clock import Clock
from arker.emulator.control.entries import Fork, RequestEntry
from arker.emulator.control.rules import (
    RULES,
    DelayRule,
    ErrorRule,
    ExpireRule,
    Rule,
    StallRule,
    ThrottleRule,
    rule_from_json,
    rule_json,
)
from arker.emulator.server.control import TABLE
from arker.emulator.server.errors import STATUSES, ServiceError
from arker.emulator.server.fault_actions import default_code
from arker.emulator.server.fault_matching import FAULTS, ActiveFault, Facts, FaultSet, path_pattern
from arker.emulator.server.journal.journal import Journal, Log
from arker.emulator.server.routes import OPERATIONS
from arker.emulator.server.streams import part_of
from arker.errors import InvalidArgumentError

PAGE = Path(__file__).parents[3] / "docs/faults.md"

RUN = Facts(operation="run", method="POST", path="/v1/vms/01ABC/runs")
GET_VM = Facts(operation="get_vm", method="GET", path="/v1/vms/01ABC")
PUT = Facts(operation="presigned_put", method="PUT", path="/presigned/01ABC")
UNKNOWN = Facts(operation="", method="GET", path="/v1/nothing")


def fired(faults: FaultSet, facts: Facts = RUN) -> list[str]:
    firing = faults.fire(facts)
    return [] if firing is None else [fault.fault_id for fault in firing.faults]


def test_the_names_are_those_of_the_operations() -> None:
    named = {operation.name for operation in OPERATIONS}
    assert set(rules.OPERATION_NAMES) == named | {"openapi", *rules.PRESIGNED}
    assert len(set(rules.OPERATION_NAMES)) == len(rules.OPERATION_NAMES)


# --- matching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "matching"),
    [
        ({}, {RUN, GET_VM, PUT, UNKNOWN}),
        ({"operation": "run"}, {RUN}),
        ({"operation": ["run", "presigned_put"]}, {RUN, PUT}),
        ({"operation": []}, {RUN, GET_VM, PUT, UNKNOWN}),
        ({"method": "GET"}, {GET_VM, UNKNOWN}),
        ({"path": "/v1/vms/*"}, {GET_VM}),
        ({"path": "/v1/vms/*/runs"}, {RUN}),
        ({"path": "/v1/**"}, {RUN, GET_VM, UNKNOWN}),
        ({"path": "/presigned/*"}, {PUT}),
        ({"path": "/v1/vms/01AB?"}, {GET_VM}),
        ({"path": "/v1/nothing", "method": "GET"}, {UNKNOWN}),
        ({"path": "/v1/vms/*", "method": "POST"}, set[Facts]()),
        ({"operation": "run", "method": "POST", "path": "/v1/vms/01ABC/runs"}, {RUN}),
    ],
)
def test_every_condition_has_to_hold(conditions: dict[str, Any], matching: set[Facts]) -> None:
    fault = ActiveFault("f", ErrorRule(**conditions))
    assert {facts for facts in (RUN, GET_VM, PUT, UNKNOWN) if fault.matches(facts)} == matching


def test_some_are_for_presigned_urls_only() -> None:
    for rule in (ExpireRule(), ThrottleRule(bytes_per_second=1), ExpireRule(path="/**")):
        assert [ActiveFault("f", rule).matches(facts) for facts in (RUN, UNKNOWN, PUT)] == [False, False, True]
    assert not ActiveFault("f", ExpireRule(operation="presigned_get")).matches(PUT)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/v1/*", "/v1/", True),
        ("/v1/*", "/v1/a/b", False),
        ("/v1/**", "/v1/a/b", True),
        ("/v1/?", "/v1//", False),
        ("/a.b", "/aXb", False),
        ("/[x]", "/x", False),
        ("/[x]", "/[x]", True),
        ("/a", "/a\n", False),
        ("/***/z", "/a/b/z", True),
    ],
)
def test_patterns_of_paths(glob: str, path: str, matches: bool) -> None:
    assert path_pattern(glob).matches(path) is matches


def test_patterns_with_many_asterisks_take_no_longer_than_others() -> None:
    start = time.process_time()
    assert not path_pattern("/" + "**a" * 300 + "b").matches("/" + "a" * 5000)
    assert path_pattern("/" + "*a" * 300 + "**b").matches("/" + "a" * 5000 + "b")
    assert time.process_time() - start < 10  # of the processor's; as a regular expression: years


# --- counting and drawing --------------------------------------------------------------------------------------------


def test_once_unless_told_otherwise() -> None:
    faults = FaultSet()
    fault = faults.add(ErrorRule(operation="run"))
    assert [fired(faults, facts) for facts in (GET_VM, RUN, RUN)] == [[], [fault.fault_id], []]
    assert (fault.seen, fault.fired) == (2, 1)


def test_the_next_so_many_after_those_that_are_spared() -> None:
    faults = FaultSet()
    fault = faults.add(ErrorRule(operation="run", times=2, skip=3))
    assert [bool(fired(faults)) for _ in range(7)] == [False] * 3 + [True] * 2 + [False] * 2
    assert (fault.seen, fault.fired) == (7, 2)


def test_without_end() -> None:
    faults = FaultSet()
    fault = faults.add(ErrorRule(times=None))
    assert all(fired(faults) for _ in range(1000))
    assert fault.fired == 1000


def test_draws_are_repeatable_and_one_for_each_matching_request() -> None:
    def draws(**fields: Any) -> list[bool]:
        faults = FaultSet()
        faults.add(ErrorRule(operation="run", share=0.3, **fields))
        return [bool(fired(faults, facts)) for _ in range(200) for facts in (RUN, GET_VM) if facts is RUN]

    expected = random.Random(5)
    assert draws(seed=5) == draws(seed=5) == [expected.random() < 0.3 for _ in range(200)]
    assert draws(seed=5) != draws(seed=6)
    # What is spared is drawn for, too: the rest is as it would be.
    assert draws(seed=5, skip=50) == [False] * 50 + draws(seed=5)[50:]
    assert 30 < sum(draws(seed=5)) < 90


def test_a_share_of_one_is_always() -> None:
    faults = FaultSet()
    faults.add(ErrorRule(share=1))
    assert all(fired(faults) for _ in range(100))


def test_a_seed_is_chosen_and_told() -> None:
    seeds = {ActiveFault("f", ErrorRule(share=0.5)).rule.seed for _ in range(10)}
    assert None not in seeds
    assert len(seeds) > 1
    assert ActiveFault("f", ErrorRule()).rule.seed is None
    assert ActiveFault("f", ErrorRule(share=0.5, seed=0)).rule.seed == 0


def test_draws_do_not_depend_on_other_faults() -> None:
    alone, together = FaultSet(), FaultSet()
    first = together.add(ErrorRule(times=None, share=0.5, seed=1))
    for faults in (alone, together):
        faults.add(StallRule(share=0.5, seed=2))
    pattern = [bool(fired(alone)) for _ in range(100)]
    for expected in pattern:
        names = fired(together)
        assert len(names) <= 1
        if first.fault_id not in names:
            assert bool(names) is expected


# --- several at once -------------------------------------------------------------------------------------------------


def test_the_first_that_was_added_decides_and_the_next_waits_its_turn() -> None:
    faults = FaultSet()
    first, second = faults.add(ErrorRule()), faults.add(StallRule())
    assert [fired(faults) for _ in range(3)] == [[first.fault_id], [second.fault_id], []]
    assert (second.seen, second.fired) == (3, 1)


def test_delays_and_throttles_go_together_with_an_outcome() -> None:
    faults = FaultSet()
    faults.add(DelayRule(seconds=1))
    faults.add(DelayRule(seconds=2, processed=True))
    outcome = faults.add(ErrorRule())
    faults.add(DelayRule(seconds=4))
    faults.add(ThrottleRule(bytes_per_second=1000))
    faults.add(ThrottleRule(bytes_per_second=10))
    firing = faults.fire(PUT)
    assert firing is not None
    assert firing.outcome is outcome
    assert firing.fault_id == outcome.fault_id
    assert len(firing.faults) == 6
    assert (firing.delay(processed=False), firing.delay(processed=True)) == (5, 2)
    assert firing.rate == 10


def test_without_an_outcome_the_first_gives_the_name() -> None:
    faults = FaultSet()
    first, _ = faults.add(DelayRule(seconds=1)), faults.add(DelayRule(seconds=1))
    firing = faults.fire(RUN)
    assert firing is not None
    assert (firing.outcome, firing.fault_id, firing.rate) == (None, first.fault_id, None)


def test_faults_come_and_go() -> None:
    faults = FaultSet()
    assert not faults
    first, second = faults.add(ErrorRule()), faults.add(ErrorRule())
    assert faults
    assert list(faults) == [first, second]
    assert faults.remove(first.fault_id) is first
    for action in (faults.find, faults.remove):
        with pytest.raises(ServiceError, match="no fault"):
            action(first.fault_id)
    assert fired(faults) == [second.fault_id]
    assert faults.clear() == 1
    assert faults.fire(RUN) is None
    assert faults.add(ErrorRule()).fault_id not in {first.fault_id, second.fault_id}


def test_there_is_a_limit() -> None:
    faults = FaultSet()
    for _ in range(FAULTS):
        faults.add(ErrorRule())
    with pytest.raises(ServiceError) as caught:
        faults.add(ErrorRule())
    assert caught.value.status == 409


# --- what rules take -------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "action"),
    ({"action": None}, "action"),
    ({"action": "explode"}, "action"),
    ({"action": ["error"]}, "action"),
    ({"action": "error", "moment": "before"}, "moment"),
    ({"action": "stall", "status": 503}, "status"),
    ({"action": "error", "fault_id": "f"}, "fault_id"),
    ({"action": "error", "operation": "walk"}, "operation"),
    ({"action": "error", "operation": ["run", "walk"]}, "operation"),
    ({"action": "error", "operation": 5}, "operation"),
    ({"action": "error", "operation": [["run"]]}, "operation"),
    ({"action": "expire", "operation": "run"}, "operation"),
    ({"action": "throttle", "operation": ["presigned_get", "sync"], "bytes_per_second": 1}, "operation"),
    ({"action": "error", "method": "post"}, "method"),
    ({"action": "error", "method": 5}, "method"),
    ({"action": "error", "path": "v1/vms"}, "path"),
    ({"action": "error", "path": "/a b"}, "path"),
    ({"action": "error", "path": "/api/v1/vms"}, "path"),
    ({"action": "error", "path": "/api"}, "path"),
    ({"action": "error", "path": ["/"]}, "path"),
    ({"action": "error", "times": 0}, "times"),
    ({"action": "error", "times": 1.5}, "times"),
    ({"action": "error", "times": True}, "times"),
    ({"action": "error", "times": 1, "share": 0.5}, "times"),
    ({"action": "error", "times": 2, "share": 0.5}, "times"),
    ({"action": "error", "share": 0}, "share"),
    ({"action": "error", "share": 1.01}, "share"),
    ({"action": "error", "share": "half"}, "share"),
    ({"action": "error", "share": float("nan")}, "share"),
    ({"action": "error", "seed": 1}, "seed"),
    ({"action": "error", "share": 0.5, "seed": -1}, "seed"),
    ({"action": "error", "share": 0.5, "seed": 2**60}, "seed"),
    ({"action": "error", "skip": -1}, "skip"),
    ({"action": "error", "skip": "1"}, "skip"),
    ({"action": "error", "status": 199}, "status"),
    ({"action": "error", "status": 600}, "status"),
    ({"action": "error", "status": "503"}, "status"),
    ({"action": "error", "code": ""}, "code"),
    ({"action": "error", "code": "two words"}, "code"),
    ({"action": "error", "message": ""}, "message"),
    ({"action": "error", "message": "\ud800"}, "message"),
    ({"action": "error", "retry_after": -1}, "retry_after"),
    ({"action": "error", "retry_after": "a\r\nb"}, "retry_after"),
    ({"action": "error", "retry_after": [1]}, "retry_after"),
    ({"action": "error", "processed": 1}, "processed"),
    ({"action": "delay"}, "seconds"),
    ({"action": "delay", "seconds": None}, "seconds"),
    ({"action": "delay", "seconds": -0.1}, "seconds"),
    ({"action": "delay", "seconds": float("inf")}, "seconds"),
    ({"action": "delay", "seconds": 10**400}, "seconds"),
    ({"action": "delay", "seconds": True}, "seconds"),
    ({"action": "garbage", "body": 5}, "body"),
    ({"action": "garbage", "body": "x" * (checks.BODY_MAXIMUM + 1)}, "body"),
    ({"action": "garbage", "status": 99}, "status"),
    ({"action": "close", "moment": "later"}, "moment"),
    ({"action": "close", "moment": ["before"]}, "moment"),
    ({"action": "close", "moment": "after", "seconds": 1}, "seconds"),
    ({"action": "close", "reset": "yes"}, "reset"),
    ({"action": "truncate", "fraction": 1}, "fraction"),
    ({"action": "truncate", "fraction": -0.1}, "fraction"),
    ({"action": "stall", "processed": "no"}, "processed"),
    ({"action": "throttle"}, "bytes_per_second"),
    ({"action": "throttle", "bytes_per_second": 0}, "bytes_per_second"),
    ({"action": "throttle", "bytes_per_second": "fast"}, "bytes_per_second"),
]


@pytest.mark.parametrize(("members", "argument"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_wrong_is_named(members: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        rule_from_json(members)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    "members",
    [
        {"action": "error"},
        {"action": "error", "operation": "run"},
        {"action": "error", "times": None, "method": None, "status": 429, "retry_after": 1.5, "processed": True},
        {"action": "error", "share": 0.25, "seed": 3, "skip": 2, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"},
        {"action": "error", "code": "strange", "message": "größer", "path": "/v1/**"},
        {"action": "delay", "seconds": 0},
        {"action": "garbage", "body": "", "status": 500, "processed": False},
        {"action": "close", "moment": "during", "seconds": 0.5, "reset": True},
        {"action": "truncate", "fraction": 0},
        {"action": "stall"},
        {"action": "expire", "operation": ["presigned_put", "presigned_get"]},
        {"action": "throttle", "bytes_per_second": 1e6},
    ],
)
def test_there_and_back(members: dict[str, Any]) -> None:
    rule = rule_from_json(members)
    body = rule_json(rule)
    assert rule_from_json(body) == rule
    for name, value in members.items():
        if value is not None:
            assert body[name] == ([value] if name == "operation" and isinstance(value, str) else value)
    assert ("times" in body) is (rule.share is None)


def test_every_action_has_a_class() -> None:
    assert set(RULES) == {"error", "delay", "garbage", "close", "truncate", "stall", "expire", "throttle"}


def test_codes_of_statuses() -> None:
    assert {status: default_code(status) for status in (*STATUSES.values(), 418, 429, 502, 504, 599)} == {
        400: "bad_request",
        401: "unauthorized",
        402: "payment_required",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        410: "expired",
        409: "conflict",
        413: "payload_too_large",
        422: "unsupported_operation",
        500: "internal",
        503: "unavailable",
        418: "bad_request",
        429: "rate_limited",
        502: "unavailable",
        504: "gateway_timeout",
        599: "internal",
    }


@pytest.mark.parametrize(
    ("size", "fraction", "part"), [(0, 0.5, 0), (1, 0.999, 0), (2, 0.999, 1), (10, 0, 0), (10, 0.55, 5), (10, 0.99, 9)]
)
def test_what_is_cut_short_is_never_whole(size: int, fraction: float, part: int) -> None:
    assert part_of(size, fraction) == part


# --- the journal's lists ---------------------------------------------------------------------------------------------


def fork(seq: int) -> Fork:
    return Fork(seq=seq, vm_id=f"vm{seq}", source="ubuntu", t_ms=0)


def seqs(log: Log[Fork], after: int = 0, limit: int = 100) -> list[int]:
    return [entry.seq for entry in log.after(after, limit)]


def test_a_list_is_bounded_and_says_what_is_missing() -> None:
    log: Log[Fork] = Log(3)
    assert (seqs(log), log.last, log.dropped(0)) == ([], 0, 0)
    for _ in range(5):
        log.add(fork)
    assert (seqs(log), log.last, len(log)) == ([3, 4, 5], 5, 3)
    assert [log.dropped(after) for after in (0, 1, 2, 3, 9)] == [2, 1, 0, 0, 0]
    assert [seqs(log, after, 2) for after in (0, 2, 3, 4, 5, 9)] == [[3, 4], [3, 4], [4, 5], [5], [], []]
    assert [entry.seq for entry in log] == [3, 4, 5]


def test_what_was_cleared_is_not_missed_and_numbers_go_on() -> None:
    log: Log[Fork] = Log(3)
    for _ in range(5):
        log.add(fork)
    assert log.clear() == 3
    assert (seqs(log), log.last, log.dropped(0)) == ([], 5, 0)
    for _ in range(4):
        log.add(fork)
    assert (seqs(log, 5), log.dropped(0), log.dropped(5), log.dropped(6)) == ([7, 8, 9], 1, 1, 0)


def test_a_successor_begins_where_the_journal_ended() -> None:
    journal = Journal(Clock())
    journal.forks.add(fork)
    following = journal.successor()
    assert (len(following.forks), following.forks.last, following.forks.dropped(0)) == (0, 1, 0)
    assert following.forks.add(fork).seq == 2
    assert len(journal.forks) == 1


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_names_every_endpoint_action_and_option() -> None:
    text = PAGE.read_text()
    for entry in TABLE:
        assert re.search(rf"^\| `{entry.method} emulator/{re.escape(entry.path)}[`?]", text, re.MULTILINE), entry
    conditions = {field.name for field in attrs.fields(Rule)}
    for name in conditions:
        assert re.search(rf"^\| `{name}` \|", text, re.MULTILINE), name
    for action, cls in RULES.items():
        row = re.search(rf"^\| `{action}` \|.*$", text, re.MULTILINE)
        assert row is not None
        for field in attrs.fields(cls):
            assert field.name in conditions or f"`{field.name}`" in row[0], (action, field.name)
    for field in attrs.fields(RequestEntry):
        assert re.search(rf"^\|.*`{field.name}`.*\|.*\|$", text, re.MULTILINE), field.name
