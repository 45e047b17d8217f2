"""What the client sends in generation 1: nothing that a closed body refuses, and nothing of before."""

from __future__ import annotations

from typing import Any

import pytest

from arker import AsyncArker
from arker.emulator import Emulator
from tests.generations.table import OPERATIONS, PAGE, WORKS, outcome, parse
from tests.generations.witness import Witness, witness

pytestmark = pytest.mark.anyio


async def _watch(emulator: Emulator, name: str, setting: Any) -> tuple[Witness, str]:
    """Let a client do an operation while each request and reply is held against the contract."""
    async with witness(emulator) as seen, AsyncArker(**seen.client_options, generation=setting) as ar:
        text = await outcome(OPERATIONS[name], emulator, ar)
    seen.verify()
    return seen, text


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_request_of_generation_1(generation_1: Emulator, name: str) -> None:
    seen, text = await _watch(generation_1, name, "1")
    assert text == parse(PAGE.read_text("utf-8"))[name, "1", "1"]
    assert seen.exchanges or text == "✗ 0"


async def test_a_client_that_has_to_find_out_asks_for_the_health_without_a_key(generation_1: Emulator) -> None:
    seen, text = await _watch(generation_1, "ar.fork(network=)", "auto")
    assert text == WORKS
    assert seen.seen["health"] == 1
    assert seen.exchanges[0].operation == "health"
    assert "Authorization" not in seen.exchanges[0].headers


async def test_a_client_that_need_not_know_does_not_ask(generation_1: Emulator) -> None:
    for name in ("ar.fork(name, public=)", "vm.run(), vm.get_run()", "vm.sync()", "ar.create_filesystem() and its kin"):
        seen, text = await _watch(generation_1, name, "auto")
        assert text == WORKS
        assert seen.seen["health"] == 0
