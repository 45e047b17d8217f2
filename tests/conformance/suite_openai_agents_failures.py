"""Sessions of the OpenAI Agents SDK after mistakes of models and programs, and after failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agents import ModelResponse, RunConfig, Runner, Usage
from agents.models.interface import Model
from agents.run_config import SandboxRunConfig
from agents.sandbox import SandboxAgent
from agents.sandbox.entries import File, LocalDir
from agents.sandbox.errors import LocalDirReadError, WorkspaceRootNotFoundError
from agents.sandbox.manifest import Manifest
from agents.sandbox.session import SandboxSession
from agents.tracing import set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from arker import AsyncArker, WorkingDirectoryError
from arker.integrations.openai_agents import ArkerSandboxClient, ArkerSandboxClientOptions

pytestmark = pytest.mark.anyio
set_tracing_disabled(True)

MANIFEST = Manifest(entries={"a.txt": File(content=b"a\n")})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def client(arker: AsyncArker) -> ArkerSandboxClient:
    return ArkerSandboxClient(arker)


@pytest.fixture
async def session(client: ArkerSandboxClient, anyio_backend: str) -> AsyncIterator[SandboxSession]:
    async with await client.create(manifest=MANIFEST) as session:
        yield session


async def count(arker: AsyncArker) -> int:
    return len((await arker.list_vms()).vms)


class Steps(Model):
    """A model that calls tools, and then says what they have said. A call is made of the output before it."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        outputs = [
            str(each["output"])
            for each in (input if isinstance(input, list) else [])
            if isinstance(each, dict) and each.get("type") == "function_call_output"
        ]
        item: ResponseFunctionToolCall | ResponseOutputMessage
        if len(outputs) < len(self.steps):
            step = self.steps[len(outputs)]
            name, arguments = step(outputs[-1]) if callable(step) else step
            item = ResponseFunctionToolCall(
                arguments=json.dumps(arguments), call_id=str(len(outputs)), name=name, type="function_call", id="f"
            )
        else:
            text = ResponseOutputText(annotations=[], text="\n".join(outputs), type="output_text")
            item = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


async def run(session: SandboxSession, *steps: Any) -> str:
    agent = SandboxAgent(name="tries", model=Steps(*steps))
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
