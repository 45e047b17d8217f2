"""The only way out of a VM: a listener in its network, accepted on outside."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping

import pytest

from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host.link import AgentLink
from arker.emulator.sandbox.host.machine import Launch, Machine
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from arker.emulator.sandbox.outlet import PORT, open_outlet
from tests.emulator.sandbox.support import descriptors, kill_vms, sh, until

pytestmark = pytest.mark.anyio

SAY = f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && echo hello >&3"


class Recorder:
    """An outlet that only keeps its listener."""

    def __init__(self) -> None:
        self.listener: socket.socket | None = None
        self.opened = 0

    def variables(self, host: str, port: int) -> Mapping[str, str]:
        return {"WAY_OUT": f"{host}:{port}"}

    def open(self, listener: socket.socket) -> None:
        assert self.listener is None
        assert not listener.getblocking()
        self.listener = listener
        self.opened += 1

    def cut(self) -> None:
        assert self.listener is not None
        self.listener.close()
        self.listener = None

    async def heard(self) -> bytes:
        """Return what the next connection sends."""
        assert self.listener is not None
        loop = asyncio.get_running_loop()
        connection, _ = await asyncio.wait_for(loop.sock_accept(self.listener), 60)
        with connection:
            connection.setblocking(False)
            return await asyncio.wait_for(loop.sock_recv(connection, 100), 60)


@pytest.fixture(autouse=True)
async def without_spares(provider: BubblewrapProvider) -> None:
    """Begin without spare sandboxes, which have descriptors of their own."""
    await provider.spares.let_go()


async def test_what_a_vm_connects_to_is_accepted_outside(provider: BubblewrapProvider) -> None:
    before = descriptors()
    outlet = Recorder()
    vm = await provider.create("out", outlet=outlet)
    assert vm.initial_env["WAY_OUT"] == f"127.0.0.1:{PORT}"
    assert outlet.opened == 0  # it has not been started
    ended = await sh(vm, f'{SAY}; echo "$WAY_OUT"')
    assert ended.text == f"127.0.0.1:{PORT}"
    assert await outlet.heard() == b"hello\n"
    # Nothing in the VM holds the listener, so that nothing there could accept in its place.
    assert outlet.listener is not None
    outlet.listener.close()
    assert (await sh(vm, SAY)).code == 1
    await vm.delete()
    assert outlet.listener is None
    await provider.spares.let_go()
    await until(lambda: descriptors() <= before)


async def test_it_is_there_again_after_the_vm_has_died(provider: BubblewrapProvider) -> None:
    before = descriptors()
    outlet = Recorder()
    vm = await provider.create("dies", outlet=outlet)
    for number in range(1, 4):
        assert (await sh(vm, SAY)).code == 0
        assert await outlet.heard() == b"hello\n"
        assert outlet.opened == number
        await kill_vms()
        await provider.spares.let_go()
        await until(lambda: outlet.listener is None)
        await until(lambda: descriptors() <= before)
    await vm.delete()
    assert outlet.opened == 3


async def test_without_an_outlet_nothing_listens(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    assert (await sh(vm, SAY)).code == 1
    assert "WAY_OUT" not in vm.initial_env
    outlet = Recorder()
    parent = await provider.create("parent", outlet=outlet)
    await sh(parent, "true")
    child = await provider.create("child", source=parent)
    assert (await sh(child, SAY)).code == 1
    assert outlet.opened == 1
    await child.delete()
    await parent.delete()


async def test_a_vm_without_its_port_starts_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = await Machine.start(Launch(python=sys.executable))  # not in a network of its own, but in this one
    outlet = Recorder()
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            await open_outlet(machine.link, outlet, port=taken.getsockname()[1])
        assert "no way out" in caplog.text
        assert "in use" in caplog.text
        assert outlet.opened == 0
        assert machine.alive
    finally:
        await machine.close()


@pytest.mark.parametrize("kind", ["nothing", "file", "connection", "datagrams", "two"])
async def test_what_is_no_listener_is_not_taken_for_one(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    before = descriptors()
    ours, theirs = socket.socketpair()
    link = AgentLink(ours)
    outlet = Recorder()
    opening = asyncio.create_task(open_outlet(link, outlet))
    null = os.open("/dev/null", os.O_RDONLY)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        handed = {
            "nothing": [],
            "file": [null],
            "connection": [connection.fileno()],
            "datagrams": [datagrams.fileno()],
            "two": [listener.fileno(), listener.fileno()],
        }[kind]
        body = json.dumps({"id": 1, "fds": len(handed)}).encode()
        socket.send_fds(theirs, [struct.pack("!I", len(body)) + body], handed)
        await asyncio.wait_for(opening, 60)
    os.close(null)
    assert outlet.opened == 0
    assert "no way out" in caplog.text
    link.close()
    theirs.close()
    assert descriptors() <= before
