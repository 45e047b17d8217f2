"""A server that is replaced, under a client that goes on, by one of the other generation."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from arker import AsyncVM, NotFoundError, UnsupportedOperationError
from arker._transport import generations
from tests.support.clients import COMPUTE
from tests.support.server import Recorded, Reply, ScriptedServer, ok
from tests.support.today import HEALTH, HEALTHY, NO_OPERATION, NO_ROUTE, PATCH, POST, VM_OF_TODAY, auto, nested, sent

pytestmark = pytest.mark.anyio

RESIZED = ok({"resized": True})
NO_VM_OF_TODAY = nested("not_found", status=404, details={"resource": "vm"})


async def resize(vm: AsyncVM) -> None:
    assert (await vm.resize(vcpu_count=3)).resized


async def test_by_one_of_generation_1(server: ScriptedServer) -> None:
    server.script(NO_ROUTE, RESIZED, NO_OPERATION, ok(VM_OF_TODAY), ok(VM_OF_TODAY))
    async with auto(server) as client:
        for _ in range(3):
            await resize(client.vm("v"))
    assert sent(server) == [HEALTH, POST, POST, PATCH, PATCH]


async def test_by_one_of_generation_0_5(server: ScriptedServer) -> None:
    server.script(HEALTHY, ok(VM_OF_TODAY), NO_ROUTE, NO_ROUTE, RESIZED, RESIZED)
    async with auto(server) as client:
        for _ in range(3):
            await resize(client.vm("v"))
    assert sent(server) == [HEALTH, PATCH, PATCH, HEALTH, POST, POST]


async def test_amid_many_calls(server: ScriptedServer) -> None:
    """In whatever order their requests arrive, the server is asked once more."""
    replaced = False

    def answer(request: Recorded) -> Reply:
        if request.method == "POST":
            return RESIZED
        if replaced:
            # All three are refused before one of them knows why.
            return evolve(NO_ROUTE, delay=0.3) if request.path.endswith("health") else NO_ROUTE
        return HEALTHY if request.path.endswith("health") else ok(VM_OF_TODAY)

    server.answer(answer)
    async with auto(server, max_connections=3) as client:
        await resize(client.vm("v"))
        replaced = True
        await asyncio.gather(*(resize(client.vm("v")) for _ in range(3)))
    assert (sent(server).count(HEALTH), sent(server).count(POST)) == (2, 3)


async def test_what_is_not_there_is_no_sign_of_it(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(HEALTHY, NO_VM_OF_TODAY, NO_VM_OF_TODAY)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await resize(client.vm("v"))
    assert sent(server) == [HEALTH, PATCH, PATCH]


async def test_nor_in_generation_0_5(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(NO_ROUTE, NO_ROUTE, NO_ROUTE)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await resize(client.vm("v"))
    assert sent(server) == [HEALTH, POST, POST]


async def test_a_server_that_has_not_changed_is_asked_once_a_minute_at_most(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(HEALTHY, NO_ROUTE, HEALTHY, NO_ROUTE, ok(VM_OF_TODAY))
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await resize(client.vm("v"))
        await resize(client.vm("v"))
    assert sent(server) == [HEALTH, PATCH, HEALTH, PATCH, PATCH]


async def test_what_the_server_lacked_is_not_refused_for_ever(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with auto(server, ledger=False) as client:
        server.script(NO_ROUTE)
        for _ in range(2):
            with pytest.raises(UnsupportedOperationError):
                await client.fork("ubuntu", description="a VM")
        monkeypatch.setattr(generations, "_ASK_AGAIN", 0.0)
        server.script(HEALTHY, ok(VM_OF_TODAY))
        await client.fork("ubuntu", description="a VM")
    assert sent(server) == [HEALTH, HEALTH, f"POST {COMPUTE}/v1/fork"]
