"""Under trio, the async client says that it is for asyncio, whatever is asked of it first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from arker import AsyncArker, AsyncVM, ConfigurationError
from arker.emulator import Emulator
from tests.support.clients import make_client
from tests.support.server import ScriptedServer, ok

EXPECTED = "no asyncio event loop is running here: this is a trio program"


async def first(items: AsyncIterator[object]) -> object:
    return await anext(items)


async def entered(block: Any) -> object:
    async with block as thing:
        return thing


CLIENTS: dict[str, Callable[[AsyncArker], Awaitable[object]]] = {
    "block": entered,
    "fork": lambda ar: ar.fork("ubuntu"),
    "get_vm": lambda ar: ar.get_vm("vm-1", deadline=5),
    "iter_vms": lambda ar: first(ar.iter_vms()),
    "list_vms": lambda ar: ar.list_vms(),
    "list_runs": lambda ar: ar.list_runs(),
    "list_filesystems": lambda ar: ar.list_filesystems(),
    "create_filesystem": lambda ar: ar.create_filesystem(name="f"),
    "fork_many": lambda ar: entered(ar.fork_many("ubuntu", 2)),
    "aclose": lambda ar: ar.aclose(),
}
HANDLES: dict[str, Callable[[AsyncVM], Awaitable[object]]] = {
    "block": entered,
    "run": lambda vm: vm.run("true"),
    "run, deadline": lambda vm: vm.run("true", deadline=5),
    "start": lambda vm: vm.start("true"),
    "wait": lambda vm: vm.attach_run("r").wait(),
    "lines": lambda vm: first(vm.attach_run("r").lines(deadline=5)),
    "sync": lambda vm: vm.sync("/a"),
    "sync, write": lambda vm: vm.sync("/a", b""),
    "upload": lambda vm: vm.upload(__file__, "/a"),
    "upload_many": lambda vm: vm.upload_many([(__file__, "/a")], deadline=5),
    "download": lambda vm: vm.download("/a", "/nowhere/at/all"),
    "download_many": lambda vm: vm.download_many([("/a", "/nowhere/at/all")]),
    "upload_dir": lambda vm: vm.upload_dir(".", "/a"),
    "download_dir": lambda vm: vm.download_dir("/a", "/nowhere/at/all"),
    "open_read": lambda vm: entered(vm.open_read("/a")),
    "session": lambda vm: entered(vm.open_session()),
    "tunnel": lambda vm: entered(vm.tunnel(80)),
    "refresh": lambda vm: vm.refresh(),
    "delete": lambda vm: vm.delete(),
    "resize": lambda vm: vm.resize(vcpu_count=1),
    "iter_runs": lambda vm: first(vm.iter_runs()),
}


def check(call: Callable[[], Awaitable[object]]) -> None:
    async def main() -> None:
        await call()

    with pytest.raises(ConfigurationError) as caught:
        trio.run(main)
    assert EXPECTED in str(caught.value)


@pytest.mark.parametrize("used", [False, True], ids=["first", "used before"])
@pytest.mark.parametrize("name", CLIENTS)
def test_clients(server: ScriptedServer, name: str, used: bool) -> None:
    client = make_client(server)
    prepare(server, client, used)
    check(lambda: CLIENTS[name](client))


@pytest.mark.parametrize("used", [False, True], ids=["first", "used before"])
@pytest.mark.parametrize("name", HANDLES)
def test_handles(server: ScriptedServer, name: str, used: bool) -> None:
    client = make_client(server)
    prepare(server, client, used)
    check(lambda: HANDLES[name](client.vm("vm-1")))


def prepare(server: ScriptedServer, client: AsyncArker, used: bool) -> None:
    """Have the client load all that a request needs, in an event loop."""
    if used:
        server.script(ok({"vms": []}))
        anyio.run(client.list_vms, backend="asyncio")


def test_an_embedded_backend_is_ended() -> None:
    client = AsyncArker.local()
    check(lambda: entered(client))
    emulator: Any = client._emulator  # pyright: ignore[reportPrivateUsage]
    assert "closed" in repr(emulator)
    check(lambda: entered(Emulator()))


def test_without_any_loop(server: ScriptedServer) -> None:
    work: Any = make_client(server).list_vms()
    with pytest.raises(ConfigurationError, match="no asyncio event loop is running; the async client needs one"):
        work.send(None)
