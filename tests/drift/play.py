"""Plays a plan: a program with a client before the service; what must not have been is found afterwards.

python -m tests.drift.play "Plan('fork', (Bent('fork', (Without('vm_id'),)),))"
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final
from unittest import mock

from arker import ArkerError, AsyncArker, HttpTimeouts, RetryPolicy
from tests.drift.held import Held, Operation
from tests.drift.operations import BY_NAME, orphan
from tests.drift.plans import Plan, pasted
from tests.drift.service import BASE, Service
from tests.ledger.support import select
from tests.support.clients import make_client
from tests.support.server import ScriptedServer, ServerThread

ENOUGH: Final = 60.0
"""Seconds for anything; with the bounds of `hurried`, none takes ten."""
QUICK: Final = RetryPolicy(attempts=3, base_delay=0.001, max_delay=0.002, jitter=0.0)
_SHORT: Final = {"CLEANUP_SECONDS": 0.5, "LONGEST_CLEANUP": 1.0}
_ANSWERED: Final = 2


@contextlib.contextmanager
def hurried() -> Generator[None, None, None]:
    """Shorten the bounds of clean-ups, which a service that refuses all deletions makes use of."""
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("arker."):
                for bound, seconds in _SHORT.items():
                    if hasattr(module, bound):
                        stack.enter_context(mock.patch.object(module, bound, seconds))
        yield


class _Noise(logging.Handler):
    """Keeps what is logged, and what a loop or the interpreter reports as not caught."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []
        self.wrong: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        (self.told if record.name == "arker" else self.wrong).append(record.getMessage())

    def of_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.wrong.append(f"the loop reports {context}")

    def unraisable(self, report: Any) -> None:
        self.wrong.append(f"the interpreter reports {report.exc_value!r} in {report.object!r}")

    @contextlib.contextmanager
    def listening(self) -> Generator[None, None, None]:
        loggers = [logging.getLogger(name) for name in ("arker", "asyncio", "aiohttp.client")]
        for logger in loggers:
            logger.addHandler(self)
        try:
            with mock.patch.object(sys, "unraisablehook", self.unraisable):
                yield
                gc.collect()
        finally:
            for logger in loggers:
                logger.removeHandler(self)


def client_of(server: ScriptedServer, ledger: Path, *, older: bool) -> AsyncArker:
    """Return a client of the generation of an operation."""
    generation = "0.5" if older else "1"
    timeout = HttpTimeouts(silence=0.5, idle=60.0)
    return make_client(server, ledger=ledger, retry=QUICK, timeout=timeout, generation=generation)


def play(plan: Plan, thread: ServerThread, *, patience: float) -> tuple[list[str], BaseException | None, Service]:
    """Play a plan; gives what was wrong, and what the program ended with.

    Args:
        plan: The plan.
        thread: Where servers run.
        patience: Seconds for what the program waits for at most.
    """
    operation, noise = BY_NAME[plan.operation], _Noise()
    server = ScriptedServer(thread)
    try:
        with tempfile.TemporaryDirectory() as directory, noise.listening():
            root = Path(directory)
            service = Service(plan, root / "vms", server.url)
            service.furnish()
            server.answer(service)
            (root / "local").mkdir()
            held = Held(service, root / "ledger" / "ledger.sqlite3", root / "local", patience)
            error = asyncio.run(_Play(plan, operation, service, server, held, noise).whole())
    finally:
        server.close()
    return [*held.wrong, *noise.wrong, *server.faults], error, service


class _Play:
    def __init__(
        self,
        plan: Plan,
        operation: Operation,
        service: Service,
        server: ScriptedServer,
        held: Held,
        noise: _Noise,
    ) -> None:
        self._plan = plan
        self._operation = operation
        self._service = service
        self._server = server
        self._held = held
        self._noise = noise

    async def whole(self) -> BaseException | None:
        asyncio.get_running_loop().set_exception_handler(self._noise.of_loop)
        if self._operation.prepare is not None:
            await self._operation.prepare(self._held)
        self._service.bends = True
        error = await self._carry_out()
        self._service.bends = False
        self._judge(error)
        await self._reap()
        return error

    async def _carry_out(self) -> BaseException | None:
        """Let the program run, and give what it ended with."""
        held = self._held
        async with client_of(self._server, held.ledger, older=self._operation.older) as ar:
            held.begin(ar)
            task = asyncio.ensure_future(self._operation.act(held))
            closing = self._interrupt(task, ar)
            await self._bounded(task, "the program")
        await self._bounded(asyncio.gather(*closing), "closing the client")
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=ENOUGH)
        held.wrong += [f"goes on: {each!r}" for each in left if not each.done()]
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    def _interrupt(self, task: asyncio.Future[None], ar: AsyncArker) -> list[asyncio.Task[None]]:
        interrupted, closing = self._plan.interrupted, list[asyncio.Task[None]]()
        if interrupted is None:
            return closing
        loop, base = asyncio.get_running_loop(), self._service.asked.total()

        def interrupt(done: asyncio.Future[None], there: asyncio.AbstractEventLoop) -> None:
            if interrupted.how == "close":
                closing.append(loop.create_task(ar.aclose()))
            else:
                task.cancel()
            loop.call_soon(there.call_soon_threadsafe, _finish, done)

        async def at(number: int) -> None:
            # In the server's thread: the reply waits until the client's loop has taken notice.
            if number - base == interrupted.at:
                there = asyncio.get_running_loop()
                done = there.create_future()
                loop.call_soon_threadsafe(interrupt, done, there)
                await asyncio.wait({done}, timeout=ENOUGH)

        self._service.on_request = at
        return closing

    async def _bounded(self, doing: asyncio.Future[Any], what: str) -> None:
        await asyncio.wait({doing}, timeout=ENOUGH)
        if not doing.done():
            self._held.wrong.append(f"{what} waits without an end")
            doing.cancel()
            await asyncio.wait({doing})

    # --- afterwards -------------------------------------------------------------------------------------------------

    def _judge(self, error: BaseException | None) -> None:
        held = self._held
        interrupted = self._plan.interrupted
        expected: tuple[type[BaseException], ...] = (ArkerError,)
        if interrupted is not None and interrupted.how == "cancel":
            expected += (asyncio.CancelledError,)
        if error is not None and not isinstance(error, expected):
            held.wrong.append(f"raised: {error!r}")
        self._find_lost("after it")
        if error is None and not self._noise.told:
            kinds = ("create_session", "create_tunnel", "create_sync", "create_mount")
            made = [each for each in self._service.effects if each.kind in kinds and each.truthful]
            left = [each.name for each in made if self._service.stands(each) and each.name not in held.given]
            if left:
                held.wrong.append(f"left without a word: {left}")

    def _find_lost(self, when: str) -> None:
        """Find VMs of which neither the program nor the ledger knows."""
        held, service = self._held, self._service
        rows = set(select(held.ledger, "vm_id, idempotency_key"))
        ids, open_keys = {vm_id for vm_id, _ in rows}, {key for vm_id, key in rows if vm_id is None}
        lost: dict[str, list[str]] = {}
        for effect in service.effects:
            if effect.kind == "fork" and effect.truthful and effect.vm in service.vms:
                key = effect.name
                if effect.vm not in held.vms and effect.vm not in ids and key not in open_keys:
                    lost.setdefault(key, []).append(effect.vm)
        for key, vms in lost.items():
            # Where keys are not known, each time that a fork is posted again may make a VM more.
            if service.plan.knows_keys or len(vms) > service.posts[key] - 1:
                held.wrong.append(f"lost {when}: {vms}")

    async def _reap(self) -> None:
        """Reap twice before a service that does what it says: all that is on record goes, and nothing is made."""
        held, service = self._held, self._service
        before = set(select(held.ledger, "vm_id, idempotency_key, given_up"))
        made, there = service.made, set(service.vms)
        if not before:
            return
        unanswered = {key for vm_id, key, given_up in before if vm_id is None and not given_up & _ANSWERED}
        known = {effect.name for effect in service.effects if effect.kind == "fork"}
        for _ in range(2):
            orphan(held)
            async with client_of(self._server, held.ledger, older=self._operation.older) as ar:
                await ar.reap()
        if service.plan.knows_keys and unanswered <= known and service.made != made:
            held.wrong.append(f"reap has made {service.made - made} VMs")
        if more := set(service.vms) - there:
            held.wrong.append(f"reap has left VMs of its own: {more}")
        named = {vm_id for vm_id, _, _ in before if vm_id is not None}
        if service.plan.knows_keys:
            named |= {effect.vm for effect in service.effects if effect.kind == "fork" and effect.name in unanswered}
        if still := (named - set(held.vms)) & set(service.vms):
            held.wrong.append(f"reap has not deleted {still}")
        rows = select(held.ledger, "vm_id, given_up")
        if odd := [row for row in rows if row[0] is not None or not row[1] & _ANSWERED]:
            held.wrong.append(f"on record after reaping: {odd}")
        self._find_lost("by reaping")
        if BASE not in service.vms and self._operation.name != "delete":
            held.wrong.append("another program's VM is gone")


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def main(text: str) -> None:
    """Play what was pasted, and print what was wrong."""
    thread = ServerThread()
    try:
        with hurried():
            wrong, error, service = play(pasted(text), thread, patience=2.0)
    finally:
        thread.stop()
    print(f"ended with {error!r}\nasked for {dict(service.asked)}")
    print("\n".join(["wrong:", *wrong]) if wrong else "nothing was wrong")


if __name__ == "__main__":
    main(sys.argv[1])

__all__ = ["hurried", "play"]
