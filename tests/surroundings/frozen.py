"""A program that waits in every way that the clients know, while its clocks do not go.

Started as ``python -m tests.surroundings.frozen FREEZER CLIENT``; the backend is told by the environment. Each line
that it prints is the outcome of one kind of wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from unittest import mock

import freezegun
import time_machine

from arker import ArkerError, AsyncArker, AsyncVM
from arker_sync import VM, Arker


@contextlib.contextmanager
def patched() -> Generator[None, None, None]:
    """Patch the clocks as tests without a special tool do."""
    with (
        mock.patch("time.monotonic", return_value=5.0),
        mock.patch("time.perf_counter", return_value=5.0),
        mock.patch("time.time", return_value=5.0),
        mock.patch("time.sleep"),
    ):
        yield


FREEZERS: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
    "freezegun": lambda: freezegun.freeze_time("2031-01-01"),
    "freezegun-past": lambda: freezegun.freeze_time("1970-01-01 00:00:09"),
    "time-machine": lambda: time_machine.travel("2031-01-01", tick=False),
    "patched": patched,
}


def say(what: str, outcome: object) -> None:
    print(what, "->", outcome, flush=True)


def name_of(error: BaseException | None) -> str:
    return type(error).__name__


def blocking(freeze: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
    with Arker(retry={"base_delay": 0.05}) as ar:
        vm = ar.fork("ubuntu")
        with freeze():
            say("run", vm.run("echo hi").stdout_text.strip())
            say("wait", vm.start("sleep 0.3").wait().state)
            say("lines", [line.text for line in vm.start("echo 1; sleep 0.3; echo 2").lines()])
            for what, call in blocking_deadlines(vm).items():
                try:
                    call()
                    say(what, "no deadline")
                except ArkerError as error:
                    say(what, name_of(error))
            with vm.open_session() as session:
                say("session", session.run("pwd").stdout_text.strip() != "")
            with ar.fork_many("ubuntu", 2) as fleet:
                outcomes = list(fleet.map(lambda each, item: each.run(["echo", item]).stdout_text.strip(), ["a", "b"]))
                say("fleet", sorted(each.unwrap() for each in outcomes))
                (late,) = fleet.map(lambda each, _: each.run("sleep 60"), ["c"], item_deadline=0.3)
                say("item", name_of(late.error))
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, "file").write_bytes(b"x" * 100_000)
                say("directory", vm.upload_dir(directory, "/srv/in").counts["create"])
            vm.delete()
        say("after", ar.vm("ubuntu").refresh().id != "")
    with freeze(), Arker.local() as ar:
        say("own backend", ar.fork("ubuntu").run("echo hi").stdout_text.strip())


def blocking_deadlines(vm: VM) -> dict[str, Callable[[], object]]:
    return {
        "deadline of a run": lambda: vm.run("sleep 60", deadline=0.3),
        "deadline of a wait": lambda: vm.start("sleep 60").wait(deadline=0.3),
        "deadline of output": lambda: list(vm.start("sleep 60").lines(deadline=0.3)),
    }


async def asynchronous(freeze: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
    async with AsyncArker(retry={"base_delay": 0.05}) as ar:
        vm = await ar.fork("ubuntu")
        with freeze():
            say("run", (await vm.run("echo hi")).stdout_text.strip())
            say("wait", (await (await vm.start("sleep 0.3")).wait()).state)
            lines = (await vm.start("echo 1; sleep 0.3; echo 2")).lines()
            say("lines", [line.text async for line in lines])
            for what, call in deadlines(vm).items():
                try:
                    await call()
                    say(what, "no deadline")
                except ArkerError as error:
                    say(what, name_of(error))
            async with vm.open_session() as session:
                say("session", (await session.run("pwd")).stdout_text.strip() != "")
            async with ar.fork_many("ubuntu", 2) as fleet:
                say("fleet", sorted([each.unwrap() async for each in fleet.map(echo, ["a", "b"])]))
                (late,) = [each async for each in fleet.map(sleep_long, ["c"], item_deadline=0.3)]
                say("item", name_of(late.error))
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, "file").write_bytes(b"x" * 100_000)
                say("directory", (await vm.upload_dir(directory, "/srv/in")).counts["create"])
            await vm.delete()
        say("after", (await ar.vm("ubuntu").refresh()).id != "")
    with freeze():
        async with AsyncArker.local() as ar:
            say("own backend", (await (await ar.fork("ubuntu")).run("echo hi")).stdout_text.strip())


async def echo(vm: AsyncVM, item: str) -> str:
    return (await vm.run(["echo", item])).stdout_text.strip()


async def sleep_long(vm: AsyncVM, item: str) -> object:
    return await vm.run("sleep 60")


def deadlines(vm: AsyncVM) -> dict[str, Callable[[], Awaitable[object]]]:
    async def wait() -> object:
        return await (await vm.start("sleep 60")).wait(deadline=0.3)

    async def output() -> object:
        return [line async for line in (await vm.start("sleep 60")).lines(deadline=0.3)]

    return {
        "deadline of a run": lambda: vm.run("sleep 60", deadline=0.3),
        "deadline of a wait": wait,
        "deadline of output": output,
    }


if __name__ == "__main__":
    freezer, client = sys.argv[1:]
    if client == "blocking":
        blocking(FREEZERS[freezer])
    else:
        asyncio.run(asynchronous(FREEZERS[freezer]))
