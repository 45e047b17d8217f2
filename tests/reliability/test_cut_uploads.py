"""An upload whose connection a fault has ended keeps nothing busy in the server."""

from __future__ import annotations

import anyio
import pytest

from arker import AsyncArker, RetryPolicy
from tests.support.forked import ForkedEmulator
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("reset", [False, True])
async def test_an_upload_that_is_cut_amid_its_work(reset: bool) -> None:
    policy = RetryPolicy(attempts=2, base_delay=0.0, jitter=0.0)
    async with ForkedEmulator() as emulator, AsyncArker(**emulator.client_options, retry=policy) as client:
        vm = await client.fork("ubuntu")
        with emulator.faults.close(operation="presigned_put", moment="during", reset=reset) as fault:
            await vm.sync("/tmp/file", bytes(5_000_000))
        assert fault.fired == 1
        with anyio.fail_after(PATIENCE):
            await emulator.areset()  # waits for all that goes on
