"""Programs with few descriptors: the client takes at most half of them, and waits if none is free."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arker._basics import descriptors
from arker.config import load_settings
from tests.support.server import Recorded, Reply, ScriptedServer, ok

ROOT = str(Path(__file__).parents[1])

PROGRAM = """
import asyncio, json, os, resource, sys
from arker import AsyncArker, Hooks

async def many(ar):
    tasks = [asyncio.ensure_future(ar.get_vm("vm-1")) for _ in range(200)]
    most = 0
    while not all(task.done() for task in tasks):
        with open(os.devnull), open(os.devnull):
            most = max(most, len(os.listdir("/proc/self/fd")))
        await asyncio.sleep(0.01)
    return {"most": most, "failed": sum(task.exception() is not None for task in tasks)}

async def none_for_a_while(ar):
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    asking = asyncio.ensure_future(ar.get_vm("vm-1"))
    await asyncio.sleep(0.5)
    waited = not asking.done()
    for descriptor in held:
        os.close(descriptor)
    await asking
    return {"waited": waited}

async def main(url, what):
    retries = []
    options = {"base_url": url, "control_base_url": url, "ledger": False, "hooks": Hooks(on_retry=retries.append)}
    async with AsyncArker("k", **options) as ar:
        await ar.get_vm("vm-1")  # loads what is loaded late
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    async with AsyncArker("k", **options) as ar:
        print(json.dumps({**await globals()[what](ar), "retries": len(retries)}))

asyncio.run(main(*sys.argv[1:]))
"""


def play(server: ScriptedServer, what: str) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, server.url, what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def slowly(_: Recorded) -> Reply:
    return ok({"vm_id": "vm-1", "state": "idle"}, delay=0.05)


@pytest.mark.parametrize("what", ["many", "none_for_a_while"])
def test_a_program_with_64_descriptors(server: ScriptedServer, what: str) -> None:
    server.answer(slowly)
    told = play(server, what)
    assert told.pop("retries") == 0
    if what == "many":
        assert told.pop("most") <= 56
    assert told == ({"failed": 0} if what == "many" else {"waited": True})


def test_half_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(**more: Any) -> int:
        return load_settings("k", base_url="https://h", environ={}, **more).max_connections

    monkeypatch.setattr(descriptors, "limit", lambda: 128)
    assert (settings(), settings(max_connections=64), settings(max_connections=3)) == (64, 64, 3)
    monkeypatch.setattr(descriptors, "limit", lambda: 1)
    assert settings() == 1
    monkeypatch.setattr(descriptors, "limit", lambda: None)
    assert (settings(), settings(max_connections=10_000)) == (512, 10_000)


def test_the_last_descriptors_are_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "limit", lambda: 64)
    assert [number for number in range(64) if descriptors.is_spared(number)] == list(range(56, 64))
    monkeypatch.setattr(descriptors, "limit", lambda: 1024)
    assert [number for number in range(1024) if descriptors.is_spared(number)] == list(range(1008, 1024))
    monkeypatch.setattr(descriptors, "limit", lambda: None)
    assert not descriptors.is_spared(10_000)
    assert not descriptors.none_left()
