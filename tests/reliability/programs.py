"""Programs that do what comes into their heads, under faults; they write down what they know."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import define, field, frozen

from arker import ArkerError, AsyncArker, AsyncVM, CompletedRunResult, Hooks, HttpTimeouts, RetryPolicy
from arker._tasks.cleanup import end
from arker.emulator import Emulator
from tests.reliability.books import LOG, Books

POLICY: Final = RetryPolicy(attempts=4, base_delay=0.005, max_delay=0.02, jitter=0.005)
TIMEOUTS: Final = HttpTimeouts(idle=0.5, silence=0.2)
_POLLS: Final = 200


@frozen
class Ended:
    """How an operation ended: with a result, with an error, or neither: it was cancelled."""

    result: Any = None
    error: ArkerError | None = None
    cancelled: bool = False

    @property
    def well(self) -> bool:
        return self.error is None and not self.cancelled

    @property
    def denied(self) -> bool:
        """Whether the error says that nothing was done."""
        return self.error is not None and self.error.outcome == "not_started"


@define
class Program:
    """One program with a client of its own: some tasks at once, each of which does one thing after the other."""

    name: str
    emulator: Emulator
    books: Books
    rng: random.Random
    _tokens: int = field(default=0)

    async def live(self) -> None:
        hooks = Hooks(on_retry=self._retried)
        options = self.emulator.client_options
        async with AsyncArker(**options, retry=POLICY, timeout=TIMEOUTS, hooks=hooks) as client:
            tasks = self.rng.randint(1, 2)
            await asyncio.gather(*(self._work(client) for _ in range(tasks)))

    def _retried(self, _: object) -> None:
        self.books.retries += 1

    def _token(self) -> str:
        self._tokens += 1
        return f"{self.name}.{self._tokens}_"  # none is a part of another

    async def _work(self, client: AsyncArker) -> None:
        await self.rng.choice([self._in_a_block, self._by_hand, self._by_hand])(client)

    # --- how an operation is asked for --------------------------------------------------------------------------

    def _deadline(self) -> float | None:
        return self.rng.uniform(0.001, 0.1) if self.rng.random() < 0.1 else None

    async def _ask(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Ended:
        """Ask for it; now and then it is cancelled, at a moment or after some turns of the loop."""
        self.books.operations[name] += 1
        task = asyncio.ensure_future(_as_coroutine(operation))
        chance = self.rng.random()
        try:
            if chance < 0.06:
                await asyncio.wait({task}, timeout=self.rng.uniform(0, 0.05))
                task.cancel()
            elif chance < 0.12:
                for _ in range(self.rng.randint(0, 60)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait({task})
        except asyncio.CancelledError:  # of the block that it is in
            await end(task)
            raise
        if task.cancelled():
            self.books.cancelled[name] += 1
            if chance >= 0.12:
                self.books.foreign.append(f"{name} ended by a cancellation that was not requested")
            return Ended(cancelled=True)
        error = task.exception()
        if error is None:
            return Ended(result=task.result())
        if isinstance(error, ArkerError):
            self.books.failed(error)
            return Ended(error=error)
        self.books.foreign.append(f"{name}: {error!r}")
        return Ended(cancelled=True)

    # --- VMs ----------------------------------------------------------------------------------------------------

    async def _in_a_block(self, client: AsyncArker) -> None:
        """Hold a VM that is gone after the block, whatever happens in it."""
        vms: list[AsyncVM] = []

        async def block() -> None:
            async with await client.fork("ubuntu", deadline=self._deadline()) as vm:
                vms.append(vm)
                await self._use(vm)

        ended = await self._ask("async with fork", block)
        error = ended.error
        if error is None or error.outcome == "not_started":
            if error is not None and vms:  # the deletion was refused
                self.books.kept.add(vms[0].id)
            return
        self.books.doubtful |= {vm.id for vm in vms}
        if error.idempotency_key is not None:
            self.books.keys.add(error.idempotency_key)

    async def _by_hand(self, client: AsyncArker) -> None:
        """Hold a VM that is kept, or deleted by a call."""
        ended = await self._ask("fork", lambda: client.fork("ubuntu", deadline=self._deadline()))
        if ended.error is not None and not ended.denied:
            self.books.expect(ended.error.idempotency_key is not None, f"no key on {ended.error!r}")
            self.books.keys.add(ended.error.idempotency_key or "")
        if not ended.well:
            return
        vm = ended.result
        self.books.kept.add(vm.id)
        await self._use(vm)
        if self.rng.random() < 0.3:
            await self._delete(vm)

    async def _delete(self, vm: AsyncVM) -> None:
        self.books.kept.discard(vm.id)
        ended = await self._ask("delete", lambda: vm.delete(deadline=self._deadline()))
        if ended.denied:
            self.books.kept.add(vm.id)
        elif not ended.well:
            self.books.doubtful.add(vm.id)

    async def _use(self, vm: AsyncVM) -> None:
        steps = [self._run, self._run, self._run_behind, self._write, self._write, self._session, self._look]
        for _ in range(self.rng.randint(1, 4)):
            await self.rng.choice(steps)(vm)

    # --- what is done in a VM -----------------------------------------------------------------------------------

    def _begin(self, vm: AsyncVM) -> tuple[str, str]:
        token = self._token()
        self.books.begun.setdefault(vm.id, set()).add(token)
        return token, f"echo {token} >> ~/{LOG}; echo {token}"

    def _finish(self, vm: AsyncVM, token: str, ended: Ended) -> None:
        if ended.well:
            self.books.done.setdefault(vm.id, set()).add(token)
        elif ended.denied:
            self.books.untouched.add(token)

    async def _run(self, vm: AsyncVM, session_id: str | None = None) -> None:
        token, command = self._begin(vm)
        command = f"sleep 0.0{self.rng.randint(1, 9)}; {command}" if self.rng.random() < 0.2 else command
        ended = await self._ask("run", lambda: vm.run(command, session_id=session_id, deadline=self._deadline()))
        self._finish(vm, token, ended)
        result = ended.result
        if isinstance(result, CompletedRunResult):
            right = (result.stdout, result.exit_code, result.state) == (f"{token}\n".encode(), 0, "completed")
            self.books.expect(right, f"the result of {token} is {result!r}")

    async def _run_behind(self, vm: AsyncVM) -> None:
        token, command = self._begin(vm)
        ended = await self._ask("run, background", lambda: vm.run(command, background=True, deadline=self._deadline()))
        if not ended.well:
            self._finish(vm, token, ended)
            return
        run_id = ended.result.run_id
        if self.rng.random() < 0.2:
            await self._ask("cancel_run", lambda: vm.cancel_run(run_id))
        for _ in range(_POLLS):
            looked = await self._ask("get_run", lambda: vm.get_run(run_id))
            if looked.well and looked.result.state == "completed":
                self._finish(vm, token, looked)
                self.books.expect(looked.result.stdout == f"{token}\n".encode(), f"{token} wrote {looked.result!r}")
            if not looked.well or looked.result.state != "running":
                return
            await asyncio.sleep(0.01)

    async def _write(self, vm: AsyncVM) -> None:
        path = f"/tmp/{self._token()}"
        data = self.rng.randbytes(self.rng.choice([0, 10, 3000, 100_000]))
        if self.rng.random() < 0.01:
            data = self.rng.randbytes(1000) * 5000  # more than goes inline
        ended = await self._ask("write", lambda: vm.sync(path, data, deadline=self._deadline()))
        if ended.well:
            self.books.files[vm.id, path] = data
        else:
            self.books.perhaps[vm.id, path] = data
        if ended.denied:
            self.books.unwritten.add((vm.id, path))
        if ended.well and self.rng.random() < 0.5:
            read = await self._ask("read", lambda: vm.sync(path, deadline=self._deadline()))
            self.books.expect(not read.well or read.result == data, f"{path} was read otherwise than written")

    async def _session(self, vm: AsyncVM) -> None:
        ended = await self._ask("create_session", lambda: vm.create_session(cwd="/tmp", deadline=self._deadline()))
        if ended.well:
            session_id = ended.result.session_id
            await self._run(vm, session_id)
            await self._ask("delete_session", lambda: vm.delete_session(session_id))

    async def _look(self, vm: AsyncVM) -> None:
        ended = await self._ask("list_runs", lambda: vm.list_runs(limit=1000))
        if ended.well:
            done = self.books.done.get(vm.id, set())
            commands = "\n".join(run.command for run in ended.result)
            self.books.expect(all(token in commands for token in done), f"runs of {vm.id} are missing")


async def _as_coroutine(operation: Callable[[], Awaitable[Any]]) -> Any:
    return await operation()


__all__ = ["POLICY", "TIMEOUTS", "Program"]
