"""What comes from an agent is untrusted, and what comes to one may be garbage."""

from __future__ import annotations

import ast
import asyncio
import importlib.resources
import json
import marshal
import os
import socket
import struct
import subprocess
import sys
from typing import Any

import pytest

from arker.emulator.sandbox import agent
from arker.emulator.sandbox.agent import MODULES
from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.host.link import AgentLink, LinkClosedError, anonymous_file
from arker.emulator.sandbox.host.machine import Launch, Machine
from arker.emulator.sandbox.host.shell import parse_state
from arker.emulator.sandbox.host.source import LOADER, agent_program, compile_agent
from tests.emulator.sandbox.support import descriptors

pytestmark = pytest.mark.anyio


def frame(message: object) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack("!I", len(body)) + body


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xff\xff\xff",
        frame("text"),
        frame([]),
        frame({}),
        frame({"id": 7, "fds": 0}),
        frame({"id": 1, "fds": 3}),
        frame({"id": 1, "fds": "many"}),
        frame({"id": [], "fds": 0}),
        struct.pack("!I", 2) + b"{]",
        struct.pack("!I", 100_000) + b"[" * 100_000,
        struct.pack("!I", 4) + b"\xff\xfe\x00\x01",
    ],
)
async def test_garbage_ends_the_link_and_nothing_else(garbage: bytes) -> None:
    ours, theirs = socket.socketpair()
    link = AgentLink(ours)
    request = asyncio.create_task(link.request("read"))
    await asyncio.sleep(0)
    theirs.sendall(garbage)
    if not garbage:
        theirs.close()
    with pytest.raises(LinkClosedError):
        await asyncio.wait_for(request, 60)
    assert link.closed
    with pytest.raises(LinkClosedError):
        await link.request("read")
    theirs.close()


async def test_too_many_descriptors_end_the_link() -> None:
    before = descriptors()
    ours, theirs = socket.socketpair()
    link = AgentLink(ours)
    null = os.open("/dev/null", os.O_RDONLY)
    for _ in range(10):
        socket.send_fds(theirs, [b"\0"], [null] * 10)
        await asyncio.sleep(0.01)
        if link.closed:
            break
    await asyncio.wait_for(link.wait_closed(), 60)
    theirs.close()
    os.close(null)
    assert descriptors() <= before


@pytest.mark.parametrize("message", [{"id": 7, "fds": 2}, {"id": 1, "fds": 3}, {"fds": 2}])
async def test_descriptors_of_an_answer_that_nobody_asked_for_are_closed(message: dict[str, int]) -> None:
    before = descriptors()
    ours, theirs = socket.socketpair()
    link = AgentLink(ours)
    request = asyncio.create_task(link.request("read"))
    await asyncio.sleep(0)
    null = os.open("/dev/null", os.O_RDONLY)
    socket.send_fds(theirs, [frame(message)], [null] * 2)
    with pytest.raises(LinkClosedError):
        await asyncio.wait_for(request, 60)
    theirs.close()
    os.close(null)
    assert descriptors() <= before


async def test_an_answer_that_makes_no_sense_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    link = AgentLink(ours)
    for error in ("text", ["unheard_of", "message"], [1, 2]):
        request = asyncio.create_task(link.request("read"))
        await asyncio.sleep(0)
        theirs.sendall(frame({"id": json.loads(theirs.recv(1000)[4:])["id"], "fds": 0, "error": error}))
        with pytest.raises(SandboxError) as caught:
            await request
        assert caught.value.code == "internal"
    link.close()
    theirs.close()


async def test_silence_ends_the_link() -> None:
    ours, theirs = socket.socketpair()
    link = AgentLink(ours)
    with pytest.raises(SandboxError) as caught:
        await link.request("read", timeout=0.05)
    assert caught.value.code == "unavailable"
    assert link.closed
    theirs.close()


async def test_a_large_request_and_many_at_once() -> None:
    machine = await Machine.start(Launch(python="/usr/bin/python3"))
    with pytest.raises(SandboxError) as caught:
        await machine.link.request("read", {"path": "x" * 5_000_000})
    assert caught.value.code == "bad_request"
    replies = await asyncio.gather(*(machine.link.request("read", {"path": "/etc/passwd"}) for _ in range(200)))
    assert len({reply.fds[0] for reply in replies}) == 200
    for reply in replies:
        os.close(reply.fds[0])
    await machine.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"no json",
        b"",
        b"[]",
        b"{}",
        b'{"op": "no such"}',
        b'{"op": "run", "id": 5}',
        b'{"op": "read", "id": 5, "path": 7}',
        b'{"op": "read", "id": 5, "fds": 9, "path": "/etc/passwd"}',
        b'{"op": "commit", "id": 5, "file": 99}',
        b'{"op": "read", "id": 5, "path": "\\ud800"}',
    ],
)
def test_the_agent_survives_garbage(request_: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    source = anonymous_file("agent", agent_program())
    agent = subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", LOADER, *map(str, (theirs.fileno(), source, 0, 0, 256))],
        pass_fds=(theirs.fileno(), source),
    )
    theirs.close()
    os.close(source)
    answers = ours.makefile("rb")

    def answer() -> dict[str, Any]:
        (size,) = struct.unpack("!I", answers.read(4))
        reply: dict[str, Any] = json.loads(answers.read(size))
        return reply

    try:
        assert "hello" in answer()
        ours.sendall(struct.pack("!I", len(request_)) + request_)
        assert "error" in answer()
        ours.sendall(frame({"op": "read", "id": 9, "fds": 0, "path": "/no/such/file"}))
        assert answer() == {"id": 9, "fds": 0, "error": ["not_found", "No such file or directory", "ENOENT"]}
    finally:
        answers.close()
        ours.close()
        assert agent.wait(60) == 0


def test_the_agent_is_python_3_8() -> None:
    ast.parse(LOADER, feature_version=(3, 8))
    for name in MODULES:
        ast.parse(importlib.resources.files(agent).joinpath(f"{name}.py").read_text(), feature_version=(3, 8))


def test_a_python_that_cannot_run_agents_is_told_apart() -> None:
    assert compile_agent("/bin/false") is None
    assert compile_agent("/no/such/python") is None
    compiled = compile_agent(sys.executable)
    assert compiled is not None
    assert marshal.loads(compiled[8:])[0] == sys.version


LIGHT = {
    "_ctypes",
    "_json",
    "_signal",
    "_socket",
    "_stat",
    "_struct",
    "errno",
    "fcntl",
    "gc",
    "resource",
    "select",
    "time",
}
"""What an agent may load beside what a Python has loaded at its start: modules in C, which import nothing."""


@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/python3"])
def test_the_agent_loads_little(python: str) -> None:
    program = compile_agent(python)
    assert program is not None
    source = anonymous_file("agent", program)
    told = "import sys; before = set(sys.modules); "
    loader = LOADER.replace("load()()", "load(); print(*sorted(set(sys.modules) - before), sys.argv)")
    done = subprocess.run(
        [python, "-I", "-S", "-c", told + "\n" + loader, "0", str(source)],
        pass_fds=(source,),
        capture_output=True,
        text=True,
        check=True,
    )
    os.close(source)
    loaded = {name for name in done.stdout.partition("[")[0].split() if not name.startswith("arker.")}
    assert loaded <= LIGHT


STATES: list[tuple[bytes, tuple[str, dict[str, str]] | None]] = [
    (b"", None),
    (b"A=1\0", None),
    (b"A=1\0__ARKER_STATE_CWD=/tmp", None),
    (b"A=1\0__ARKER_STATE_CWD=tmp\0", None),
    (b"__ARKER_STATE_CWD=/tmp\0A=1\0", None),
    (b"__ARKER_STATE_CWD=/tmp\0", ("/tmp", {})),
    (b"A=1=2\0_=x\0SHLVL=3\0PWD=/x\0=odd\0odd\0__ARKER_STATE_CWD=/a=b\0", ("/a=b", {"A": "1=2"})),
]


@pytest.mark.parametrize(("content", "state"), STATES)
def test_parsing_a_sessions_state(content: bytes, state: tuple[str, dict[str, str]] | None) -> None:
    assert parse_state(content) == state
