"""Sessions of the OpenAI Agents SDK after mistakes of models and programs, and after failures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents import RunConfig, Runner
from agents.run_config import SandboxRunConfig
from agents.sandbox import SandboxAgent
from agents.sandbox.entries import LocalDir
from agents.sandbox.errors import LocalDirReadError, WorkspaceRootNotFoundError
from agents.sandbox.manifest import Manifest
from agents.sandbox.session import SandboxSession
from agents.tracing import set_tracing_disabled

from arker import AsyncArker, WorkingDirectoryError
from arker.integrations.openai_agents import ArkerSandboxClient, ArkerSandboxClientOptions
from tests.conformance.agents import MANIFEST, ScriptedModel
from tests.conformance.agents import anyio_backend as anyio_backend  # the fixtures
from tests.conformance.agents import client as client
from tests.conformance.agents import session as session

pytestmark = pytest.mark.anyio
set_tracing_disabled(True)


async def count(arker: AsyncArker) -> int:
    return len((await arker.list_vms()).vms)


async def run(session: SandboxSession, *steps: Any) -> str:
    agent = SandboxAgent(name="tries", model=ScriptedModel(*steps))
    config = RunConfig(sandbox=SandboxRunConfig(session=session))
    return str((await Runner.run(agent, "Try it.", run_config=config)).final_output)


async def test_a_model_is_told_that_a_command_takes_no_input(session: SandboxSession) -> None:
    def answer(output: str) -> tuple[str, dict[str, Any]]:
        number = int(output.split("session ID ")[1].split()[0])
        return "write_stdin", {"session_id": number, "chars": "yes\n"}

    told = await run(session, ("exec_command", {"cmd": "exec sleep 600", "yield_time_ms": 250}), answer)
    assert "Start the command with `tty=true`" in told


async def test_an_agent_starts_a_session_that_has_not_been_started(client: ArkerSandboxClient) -> None:
    session = await client.create(manifest=MANIFEST)
    assert not await session.running()
    assert "a\n" in await run(session, ("exec_command", {"cmd": "cat a.txt"}))
    assert await session.running()
    await session.aclose()


async def test_a_workspace_that_is_gone_is_told(session: SandboxSession) -> None:
    assert (await session.exec("rm -r /workspace")).ok()
    for call in (session.exec("true"), session.pty_exec_start("true")):
        with pytest.raises(WorkspaceRootNotFoundError) as caught:
            await call
        assert isinstance(caught.value.cause, WorkingDirectoryError)


@pytest.mark.parametrize("tty", [True, False])
async def test_a_command_ends_with_the_call_that_starts_it(session: SandboxSession, tty: bool) -> None:
    call = asyncio.create_task(session.pty_exec_start("touch began; exec sleep 6543", tty=tty, yield_time_s=30))
    while not (await session.exec("test -e began")).ok():
        await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    for _ in range(600):
        if not (await session.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '[s]leep 6543'")).stdout:
            return
        await asyncio.sleep(0.1)
    pytest.fail("the command goes on")


async def test_a_session_that_cannot_be_entered_leaves_no_vm(
    arker: AsyncArker, client: ArkerSandboxClient, tmp_path: Path
) -> None:
    wrong = Manifest(entries={"code": LocalDir(src=tmp_path / "none")})
    for keep in (False, True):
        with pytest.raises(LocalDirReadError):
            async with await client.create(manifest=wrong, options=ArkerSandboxClientOptions(keep=keep)):
                pass
    assert await count(arker) == 0
    session = await client.create(manifest=MANIFEST)
    call = asyncio.create_task(session.__aenter__())
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await count(arker) == 0


async def test_a_vm_that_is_there_stays_if_its_session_cannot_be_taken_up(
    arker: AsyncArker, client: ArkerSandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    passing = Manifest(entries={"code": LocalDir(src=Path("code"), ephemeral=True)})
    (tmp_path / "code").mkdir()
    first = await client.create(manifest=passing, options=ArkerSandboxClientOptions(keep=True))
    async with first:
        await first.exec("echo made > made.txt")
    (tmp_path / "code").rmdir()
    state = client.deserialize_session_state(client.serialize_session_state(first.state))
    for again in (first, await client.resume(state)):
        with pytest.raises(LocalDirReadError):
            async with again:
                pass
        assert await count(arker) == 1
    (tmp_path / "code").mkdir()
    async with await client.resume(state) as last:
        assert (await last.exec("cat made.txt")).stdout == b"made\n"
    await client.delete(last)
    assert await count(arker) == 0
