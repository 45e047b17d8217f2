"""Evaluate candidate programs on a fleet of VMs, with a live table of the results.

A model, for example, has written a hundred programs for the same task. Each is tested in a VM, where it can do no harm:
some are right, some are wrong, some crash, some never end. The fleet is forked from one VM that has the test cases. A
VM that dies during a test is replaced, and the candidate is tested again.

With an API key in ``ARKER_API_KEY`` (and a region in ``ARKER_REGION``) this runs in the cloud; without one, on the
embedded backend, which needs no account and no network. The live table needs ``rich``; if the output is not a terminal,
the example prints a line for each candidate instead.

    python -m pip install ".[emulator]" rich
    python examples/evaluate_candidates.py --candidates 100 --vms 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator

from attrs import field, frozen, mutable
from rich.console import Console
from rich.live import Live
from rich.table import Table

from arker import ArkerError, AsyncArker, AsyncFleet, AsyncVM, FleetOutcome

# --- what is evaluated -----------------------------------------------------------------------------------------------

TASK = "digits(n): the sum of the decimal digits of 2**n"

HARNESS = """
import json, sys, time
from candidate import digits

passed, cases = 0, [(n, sum(map(int, str(2 ** n)))) for n in (0, 1, 4, 15, 50, 100, 500, 1000, 2000, 3000)]
started = time.perf_counter()
for n, expected in cases:
    passed += digits(n) == expected
print(json.dumps({"passed": passed, "of": len(cases), "seconds": time.perf_counter() - started}))
"""

CANDIDATES = {
    "by text": """
def digits(n):
    return sum(map(int, str(2 ** n)))
""",
    "by division": """
def digits(n):
    x, total = 1 << n, 0
    while x:
        x, digit = divmod(x, 10)
        total += digit
    return total
""",
    "by doubling": """
def digits(n):
    found = [1]
    for _ in range(n):
        carry = 0
        for place, digit in enumerate(found):
            carry, found[place] = divmod(2 * digit + carry, 10)
        if carry:
            found.append(carry)
    return sum(found)
""",
    "by recursion": """
def digits(n, x=None):
    x = 2 ** n if x is None else x
    return x and x % 10 + digits(n, x // 10)
""",
    "in floating point": """
def digits(n):
    return sum(map(int, f"{2.0 ** n:.0f}"))
""",
    "off by one": """
def digits(n):
    return sum(map(int, str(2 ** (n - 1)))) if n else 1
""",
    "without a colon": """
def digits(n)
    return 0
""",
    "without an end": """
import time

def digits(n):
    time.sleep(3600)
""",
}
KINDS = ("passed", "wrong", "crashed", "out of time")


@frozen
class Candidate:
    """A proposed program."""

    number: int
    approach: str
    source: str


def candidates(count: int) -> Iterator[Candidate]:
    """Generate candidates one by one. The fleet draws them as VMs become free, so they need not fit into memory."""
    approaches = list(CANDIDATES.items())
    for number in range(count):
        approach, source = approaches[number % len(approaches)]
        yield Candidate(number, approach, f"# candidate {number}\n{source}")


@frozen
class Verdict:
    """The result of a candidate."""

    kind: str
    passed: int = 0
    of: int = 0
    seconds: float | None = None


class Evaluation:
    """The evaluation of candidates, each with a time limit."""

    def __init__(self, time_limit: float) -> None:
        self._time_limit = time_limit

    async def __call__(self, vm: AsyncVM, candidate: Candidate) -> Verdict:
        await vm.sync("candidate.py", candidate.source.encode())
        result = await vm.run("python3 harness.py", timeout=self._time_limit)
        if result.state != "completed":
            return Verdict("out of time")
        if result.exit_code != 0:
            return Verdict("crashed")
        report = json.loads(result.stdout)
        kind = "passed" if report["passed"] == report["of"] else "wrong"
        return Verdict(kind, report["passed"], report["of"], report["seconds"])


# --- what is shown ---------------------------------------------------------------------------------------------------


@mutable
class Standings:
    """The results so far, by approach."""

    total: int
    vms: int
    done: int = 0
    kinds: Counter[str] = field(factory=Counter[str])
    by_approach: dict[str, Counter[str]] = field(factory=dict[str, "Counter[str]"])
    fastest: tuple[float, str] | None = None

    def add(self, outcome: FleetOutcome[AsyncVM, Candidate, Verdict]) -> str:
        """Add an outcome. Returns a line about it."""
        candidate = outcome.item
        verdict = outcome.unwrap() if outcome.value is not None else Verdict(f"not evaluated: {outcome.error}")
        self.done += 1
        self.kinds[verdict.kind] += 1
        self.by_approach.setdefault(candidate.approach, Counter())[verdict.kind] += 1
        if verdict.kind == "passed" and verdict.seconds is not None:
            self.fastest = min(
                self.fastest or (verdict.seconds, candidate.approach), (verdict.seconds, candidate.approach)
            )
        score = f" {verdict.passed}/{verdict.of}" if verdict.of else ""
        return f"{candidate.number:4}  {candidate.approach:<18} {verdict.kind}{score}"

    def table(self) -> Table:
        table = Table(title=TASK, caption=f"{self.done} of {self.total} candidates, {self.vms} VMs")
        table.add_column("approach")
        for kind in KINDS:
            table.add_column(kind, justify="right")
        for approach in sorted(self.by_approach):
            counts = self.by_approach[approach]
            table.add_row(
                approach, *(str(counts[kind] or "") for kind in ("passed", "wrong", "crashed", "out of time"))
            )
        return table

    def summary(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        fastest = f"; fastest: {self.fastest[1]}" if self.fastest is not None else ""
        return f"{self.done} candidates: {kinds}{fastest}"


async def evaluate(fleet: AsyncFleet, count: int, time_limit: float, console: Console) -> Standings:
    """Evaluate candidates on the fleet, and show the results so far."""
    standings = Standings(count, len(fleet))
    outcomes = fleet.map(Evaluation(time_limit), candidates(count))
    if console.is_terminal:
        with Live(standings.table(), console=console, refresh_per_second=8) as live:
            async for outcome in outcomes:
                standings.add(outcome)
                standings.vms = len(fleet)
                live.update(standings.table())
    else:
        async for outcome in outcomes:
            console.print(standings.add(outcome), markup=False, highlight=False, soft_wrap=True)
    return standings


async def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate candidate programs over a fleet of VMs.")
    parser.add_argument("--candidates", type=int, default=100, metavar="N", help="how many programs")
    parser.add_argument("--vms", type=int, default=20, metavar="N", help="how many VMs")
    parser.add_argument("--time-limit", type=float, default=5.0, metavar="SECONDS", help="for each program")
    arguments = parser.parse_args()
    console = Console()

    cloud = os.environ.get("ARKER_API_KEY") or os.environ.get("AUTH_KEY")
    client = AsyncArker() if cloud else AsyncArker.local()
    async with client as ar, ar.fork("ubuntu") as base:
        # Files for all VMs go into the VM that they are forked from.
        await base.sync("harness.py", HARNESS.encode())
        async with ar.fork_many(base, arguments.vms) as fleet:
            standings = await evaluate(fleet, arguments.candidates, arguments.time_limit, console)
        console.print(standings.summary(), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ArkerError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
