"""The choice of the faults that fire for a request: matching, counting and drawing, without a loop or a connection."""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import attrs
from attrs import define, field, frozen

from arker.emulator.control.rules import PRESIGNED, SAME_OPERATIONS, DelayRule, Rule, ThrottleRule
from arker.emulator.server.errors import ServiceError, missing

FAULTS: Final = 1000
"""Faults that may be set at the same time."""


@frozen
class PathPattern:
    """A pattern of whole paths, as a state machine with a state before each of its parts and one at the end.

    A regular expression can take exponential time, during which the server would answer no request.

    Attributes:
        size: How many parts it has.
        literals: States, as the bits of a number, before each character that stands for itself.
        questions: Those before a ``?``.
        single: Those before a ``*``.
        double: Those before a ``**``.
    """

    size: int
    literals: Mapping[str, int]
    questions: int
    single: int
    double: int

    @classmethod
    def parse(cls, glob: str) -> PathPattern:
        """Parse a pattern. Several asterisks in a row are equal to two."""
        states: dict[str, int] = {}
        parts = re.findall(r"\*\*+|.", glob, re.DOTALL)
        for number, part in enumerate(parts):
            name = part[:2]
            states[name] = states.get(name, 0) | 1 << number
        wild = [states.pop(name, 0) for name in ("?", "*", "**")]
        return cls(len(parts), states, *wild)

    def matches(self, path: str) -> bool:
        asterisks = self.single | self.double
        current = 1 | (1 & asterisks) << 1
        for character in path:
            inside = character != "/"
            passed = current & (self.literals.get(character, 0) | (self.questions if inside else 0))
            stayed = current & (asterisks if inside else self.double)
            current = passed << 1 | stayed
            current |= (current & asterisks) << 1
            if not current:
                return False
        return bool(current >> self.size & 1)


@lru_cache(maxsize=256)
def path_pattern(glob: str) -> PathPattern:
    """Return the pattern of a rule."""
    return PathPattern.parse(glob)


@frozen(kw_only=True)
class Facts:
    """The facts of a request that rules look at.

    Attributes:
        operation: As in `arker.emulator.control.rules.OperationName`, or empty.
        method: HTTP method.
        path: The path below the base URL.
    """

    operation: str
    method: str
    path: str


def _same(operation: str) -> str:
    return SAME_OPERATIONS.get(operation, operation)


@define(eq=False)
class ActiveFault:
    """A rule that is in force, with its counts.

    Attributes:
        fault_id: What it is called.
        rule: Its rule; one that draws has a seed.
        seen: Requests that matched.
        fired: Requests that it fired for.
    """

    fault_id: str
    rule: Rule
    seen: int = 0
    fired: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.rule.share is not None and self.rule.seed is None:
            self.rule = attrs.evolve(self.rule, seed=secrets.randbits(32))
        self._random = random.Random(self.rule.seed)  # noqa: S311 - draws have to be repeatable

    @property
    def replaces(self) -> bool:
        """Whether the fault replaces the outcome. Others can be combined with any fault."""
        return not isinstance(self.rule, (DelayRule, ThrottleRule))

    def matches(self, facts: Facts) -> bool:
        rule = self.rule
        return (
            (not rule.operation or _same(facts.operation) in map(_same, rule.operation))
            and (not rule.presigned_only or facts.operation in PRESIGNED)
            and (rule.method is None or rule.method == facts.method)
            and (rule.path is None or path_pattern(rule.path).matches(facts.path))
        )

    def wants(self) -> bool:
        """Count a matching request and return whether the fault is to fire for it. Each request takes one draw."""
        self.seen += 1
        drawn = self.rule.share is None or self._random.random() < self.rule.share
        limit = self.rule.limit
        return drawn and self.seen > self.rule.skip and (limit is None or self.fired < limit)


@frozen(kw_only=True)
class Firing:
    """The faults that fire for one request, in the order in which they were added.

    Attributes:
        outcome: The one that replaces the outcome, if any.
        faults: All of them.
    """

    outcome: ActiveFault | None
    faults: tuple[ActiveFault, ...]

    @property
    def fault_id(self) -> str:
        return (self.outcome or self.faults[0]).fault_id

    def delay(self, *, processed: bool) -> float:
        """Return the seconds of delay before the request is carried out, or of its reply."""
        rules = [fault.rule for fault in self.faults]
        return sum(rule.seconds for rule in rules if isinstance(rule, DelayRule) and rule.processed is processed)

    @property
    def rate(self) -> float | None:
        """Bytes per second; of several faults the slowest counts."""
        rules = [fault.rule for fault in self.faults]
        return min([rule.bytes_per_second for rule in rules if isinstance(rule, ThrottleRule)], default=None)


class FaultSet:
    """The faults that are set, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: dict[str, ActiveFault] = {}
        self._count = 0

    def __iter__(self) -> Iterator[ActiveFault]:
        return iter(self._faults.values())

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, rule: Rule) -> ActiveFault:
        """Add a fault; 409 when there are too many."""
        if len(self._faults) >= FAULTS:
            raise ServiceError("conflict", f"there are {FAULTS} faults already: remove some")
        self._count += 1
        fault = ActiveFault(f"fault_{self._count}", rule)
        self._faults[fault.fault_id] = fault
        return fault

    def find(self, fault_id: str) -> ActiveFault:
        """Find a fault; 404 when there is none."""
        fault = self._faults.get(fault_id)
        if fault is None:
            raise missing("resource", f"there is no fault {fault_id!r}")
        return fault

    def remove(self, fault_id: str) -> ActiveFault:
        """Remove a fault; 404 when there is none. An effect that is already going on continues."""
        fault = self.find(fault_id)
        del self._faults[fault_id]
        return fault

    def clear(self) -> int:
        """Remove all faults. Returns how many there were."""
        count = len(self._faults)
        self._faults.clear()
        return count

    def fire(self, facts: Facts) -> Firing | None:
        """Return the faults that fire for a request. At most one of them replaces the outcome: the first that was
        added.
        """
        outcome: ActiveFault | None = None
        fired: list[ActiveFault] = []
        for fault in self._faults.values():
            if not fault.matches(facts) or not fault.wants():
                continue
            if fault.replaces:
                if outcome is not None:
                    continue
                outcome = fault
            fault.fired += 1
            fired.append(fault)
        return Firing(outcome=outcome, faults=tuple(fired)) if fired else None


__all__ = ["ActiveFault", "Facts", "FaultSet", "Firing", "PathPattern", "path_pattern"]
