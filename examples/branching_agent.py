"""An agent that repairs a program and forks its VM at every decision, to try both branches at once.

The agent needs no language model: its possible next steps come from a list. The example shows the loop around it. A
fork has all files of its parent at that time, so each branch continues from the agent's current state, and the branches
cannot affect each other. The better branch is kept for the next decision; the other one is deleted.

With an API key in ``ARKER_API_KEY`` (and a region in ``ARKER_REGION``) this runs in the cloud; without one, on the
embedded backend, which needs no account and no network.

    python examples/branching_agent.py
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from arker import ArkerError, AsyncArker, AsyncVM

PROGRAM = """\
def mean(values):
    return sum(values) / len(values)


def median(values):
    middle = len(values) // 2
    return values[middle]
"""

CHECKS = b"""\
from statistics_of_ours import mean, median

CHECKS = {
    "mean": lambda: mean([1, 2, 6]) == 3,
    "mean of nothing": lambda: mean([]) == 0,
    "median": lambda: median([1, 2, 6]) == 2,
    "median, unsorted": lambda: median([6, 1, 2]) == 2,
    "median, even": lambda: median([4, 1, 3, 2]) == 2.5,
    "median of nothing": lambda: median([]) == 0,
}

for name, check in CHECKS.items():
    try:
        passed = check()
    except Exception:
        passed = False
    print("passed" if passed else "failed", name, sep=": ")
"""

PLACE = "/tmp/work"


@dataclass(frozen=True)
class Idea:
    """A possible step of the agent: a text of the program and its replacement."""

    title: str
    old: str
    new: str


IDEAS = [
    Idea("let both take an empty list", "(values):\n", "(values):\n    if not values:\n        return 0\n"),
    Idea("sort before taking the middle", "return values[middle]", "return sorted(values)[middle]"),
    Idea(
        "take the mean of both middles",
        "return values[middle]",
        "ordered = sorted(values)\n    return (ordered[middle] + ordered[-middle - 1]) / 2",
    ),
]


@dataclass(frozen=True)
class Attempt:
    """A branch: the idea that was tried, its VM, and the program's test results."""

    idea: Idea
    vm: AsyncVM
    failing: list[str]
    checks: int


async def failing_checks(vm: AsyncVM) -> tuple[list[str], int]:
    """Run the checks in a new session, and return the failing ones and the number of all checks."""
    async with vm.open_session(cwd=PLACE) as session:
        result = await session.run("python3 checks.py", check=True, timeout=60)
    lines = result.stdout_text.splitlines()
    return [name for verdict, _, name in (line.partition(": ") for line in lines) if verdict == "failed"], len(lines)


async def explore(vm: AsyncVM, idea: Idea) -> Attempt:
    """Try an idea in a VM."""
    program = (await vm.sync(f"{PLACE}/statistics_of_ours.py")).decode()
    await vm.sync(f"{PLACE}/statistics_of_ours.py", program.replace(idea.old, idea.new).encode())
    failing, checks = await failing_checks(vm)
    return Attempt(idea, vm, failing, checks)


async def decide(ar: AsyncArker, vm: AsyncVM, ideas: list[Idea], stack: AsyncExitStack) -> Attempt:
    """Fork once for each idea, explore all of them at once, and keep the best. The stack deletes the remaining VMs."""
    forks = [await stack.enter_async_context(await ar.fork(vm)) for _ in ideas]
    attempts = await asyncio.gather(*map(explore, forks, ideas))
    for attempt in attempts:
        print(f"  {attempt.idea.title:<32} {attempt.checks - len(attempt.failing)} of {attempt.checks} checks pass")
    best = min(attempts, key=lambda attempt: len(attempt.failing))
    print(f"  kept: {best.idea.title}")
    await asyncio.gather(*(attempt.vm.delete() for attempt in attempts if attempt is not best))
    return best


async def main() -> None:
    in_cloud = os.environ.get("ARKER_API_KEY") or os.environ.get("AUTH_KEY")
    async with AsyncArker() if in_cloud else AsyncArker.local() as ar, AsyncExitStack() as stack:
        vm = await stack.enter_async_context(await ar.fork("ubuntu"))
        await vm.sync(f"{PLACE}/statistics_of_ours.py", PROGRAM.encode())
        await vm.sync(f"{PLACE}/checks.py", CHECKS)
        failing, checks = await failing_checks(vm)
        print(f"{checks - len(failing)} of {checks} checks pass; failing: {', '.join(failing)}")

        left, decisions = list(IDEAS), 0
        while failing:
            program = (await vm.sync(f"{PLACE}/statistics_of_ours.py")).decode()
            ideas = [idea for idea in left if idea.old in program][:2]
            if not ideas:
                raise SystemExit("the agent has no idea any more")
            decisions += 1
            print(f"decision {decisions}: {' or '.join(idea.title for idea in ideas)}?")
            best = await decide(ar, vm, ideas, stack)
            left.remove(best.idea)
            vm, failing = best.vm, best.failing

        print(f"all checks pass after {decisions} decisions:\n")
        print((await vm.sync(f"{PLACE}/statistics_of_ours.py")).decode(), end="")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ArkerError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
