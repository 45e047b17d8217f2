"""The tools of a small agent: candidate programs run in VMs, and the output of the best one is used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from arker import AsyncArker, AsyncVM


@dataclass(frozen=True)
class Verdict:
    """The result of a candidate."""

    passed: bool
    output: str
    reason: str = ""


async def judge(ar: AsyncArker, program: str, expected: str, *, seconds: float = 10) -> Verdict:
    """Run a candidate in a temporary VM."""
    async with ar.fork("ubuntu") as vm:
        await vm.sync("candidate.py", program.encode())
        result = await vm.run("python3 candidate.py", timeout=seconds)
        output = result.stdout_text.strip()
        if result.state != "completed":
            return Verdict(False, output, result.fail_reason or result.state)
        if result.exit_code != 0:
            last = result.stderr_text.strip().splitlines()[-1:]
            return Verdict(False, output, last[0] if last else f"exit code {result.exit_code}")
        return Verdict(output == expected, output, "" if output == expected else "another output")


async def best_of(ar: AsyncArker, programs: Iterable[str], expected: str) -> list[Verdict]:
    """Judge candidates in parallel. Returns the verdicts in the order of the candidates."""
    return list(await asyncio.gather(*(judge(ar, program, expected) for program in programs)))


class Workshop:
    """A VM with a session that keeps its directory and its environment from step to step."""

    def __init__(self, vm: AsyncVM, session_id: str) -> None:
        self.vm = vm
        self._session_id = session_id

    @classmethod
    async def open(cls, ar: AsyncArker, **env: str) -> Workshop:
        vm = await ar.fork("ubuntu")
        session = await vm.create_session(env=env)
        return cls(vm, session.session_id)

    async def step(self, command: str, *, key: str | None = None) -> str:
        """Run a command and return its output. A step with a known key does not run twice."""
        result = await self.vm.run(command, session_id=self._session_id, check=True, idempotency_key=key)
        return result.stdout_text.strip()

    async def save(self, path: str, data: bytes) -> None:
        await self.vm.sync(path, data)

    async def load(self, path: str) -> bytes:
        return await self.vm.sync(path)
