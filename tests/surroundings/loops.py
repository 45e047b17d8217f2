"""Programs in which a library has changed how event loops are made or run; each has to come to its end.

Started as ``python -m tests.surroundings.loops CHANGE CLIENT``; the backend is told by the environment.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from arker import AsyncArker, AsyncVM
from arker_sync import VM, Arker


def nested() -> None:
    import_module("nest_asyncio").apply()  # it has no types


def uvloop_installed() -> None:
    import uvloop

    # It says that its own `run` is to be used instead, which programs that install it do not.
    warnings.simplefilter("ignore", DeprecationWarning)
    uvloop.install()


CHANGES: dict[str, Callable[[], None]] = {"nest_asyncio": nested, "uvloop": uvloop_installed, "nothing": lambda: None}


def say(*words: object) -> None:
    print(*words, flush=True)


async def echo(vm: AsyncVM, word: str) -> str:
    return (await vm.run(["echo", word])).stdout_text.strip()


def echo_blocking(vm: VM, word: str) -> str:
    return vm.run(["echo", word]).stdout_text.strip()


async def own_backend() -> None:
    async with AsyncArker.local() as ar, await ar.fork("ubuntu") as vm:
        say(await echo(vm, "own"))


async def everything() -> None:
    async with AsyncArker() as ar, await ar.fork("ubuntu") as vm:
        say(await echo(vm, "run"))
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "file").write_bytes(b"x" * 300_000)
            say((await vm.upload_dir(directory, "/srv/in")).counts["create"])
            await vm.download("/srv/in/file", Path(directory, "back"))
            say(Path(directory, "back").stat().st_size)
        async with ar.fork_many("ubuntu", 2) as fleet:
            say(sorted([each.unwrap() async for each in fleet.map(echo, ["a", "b"])]))


def asynchronous(change: str) -> None:
    asyncio.run(own_backend())
    asyncio.run(everything())
    if change == "nest_asyncio":

        async def outer() -> None:
            asyncio.run(own_backend())  # what the library is for

        asyncio.run(outer())


def not_closed(change: str) -> None:
    ar = AsyncArker()

    async def main() -> None:
        vm = await ar.fork("ubuntu")
        say(await echo(vm, "run"))
        await vm.delete()

    asyncio.run(main())
    if change == "nest_asyncio":  # its loops are never shut down, and so it is left to the program to close a client
        asyncio.run(ar.aclose())


def blocking(change: str) -> None:
    with Arker.local() as ar, ar.fork("ubuntu") as vm:
        say(echo_blocking(vm, "own"))
    ar = Arker()
    with ar.fork("ubuntu") as vm, ar.fork_many("ubuntu", 2) as fleet:
        say(sorted(each.unwrap() for each in fleet.map(echo_blocking, ["a", "b"])))
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "file").write_bytes(b"x" * 300_000)
            say(vm.upload_dir(directory, "/srv/in").counts["create"])


def mixed(change: str) -> None:
    async def main() -> None:
        with Arker() as ar, ar.fork("ubuntu") as vm:
            say(echo_blocking(vm, "inside of a loop"))

    asyncio.run(main())


CLIENTS = {"async": asynchronous, "not_closed": not_closed, "blocking": blocking, "mixed": mixed}

if __name__ == "__main__":
    CHANGES[sys.argv[1]]()
    CLIENTS[sys.argv[2]](sys.argv[1])
    say("the main program ends here")
