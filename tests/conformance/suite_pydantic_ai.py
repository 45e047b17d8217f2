"""Pydantic AI's suite for backends of workspaces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.workspaces import Workspace, WorkspaceBackend, WorkspaceRef, WorkspaceTimeoutError
from pydantic_ai.workspaces.conformance import WorkspaceBackendSuite

from arker import AsyncArker
from arker.emulator import Emulator
from arker.errors import InvalidArgumentError
from arker.integrations.pydantic_ai import ArkerWorkspace
from tests.conformance.support import count_vms, run_page, set_environment
from tests.support.waiting import longer_and_longer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TestSuite(WorkspaceBackendSuite):
    @pytest.fixture
    def backend(self, arker: AsyncArker) -> WorkspaceBackend:
        return ArkerWorkspace(arker)

    @pytest.fixture
    def fresh_backend(self, arker: AsyncArker) -> Callable[[], WorkspaceBackend]:
        return lambda: ArkerWorkspace(arker)

    @pytest.fixture
    def attach_backend(self, arker: AsyncArker) -> Callable[[WorkspaceRef], WorkspaceBackend]:
        return lambda ref: ArkerWorkspace(arker, ref=ref)

    @pytest.fixture
    def destroy_environment(self) -> Callable[[WorkspaceBackend], Awaitable[None]]:
        async def destroy(backend: WorkspaceBackend) -> None:
            assert isinstance(backend, ArkerWorkspace)
            await backend.delete()

        return destroy


@pytest.mark.anyio
async def test_an_agent_works_in_it(arker: AsyncArker) -> None:
    workspace = ArkerWorkspace(arker)
    agent = Agent(TestModel(call_tools=["kernel"]))

    @agent.tool_plain
    async def kernel() -> str:
        return (await Workspace(workspace).run(["uname", "-s"])).stdout

    assert "Linux" in str((await agent.run("Which kernel is it?")).output)
    assert workspace.ref is not None
    await workspace.delete()
    await workspace.delete()
    assert not (await arker.list_vms()).vms


@pytest.mark.anyio
async def test_a_time_limit_keeps_the_output_so_far(arker: AsyncArker) -> None:
    for bound in longer_and_longer(1):
        workspace = ArkerWorkspace(arker, timeout=bound)
        with pytest.raises(WorkspaceTimeoutError) as caught:
            await workspace.run("echo before; echo error >&2; sleep 600", shell=True)
        if caught.value.stderr:
            assert (caught.value.stdout, caught.value.stderr) == ("before\n", "error\n")
            break
        await workspace.delete()
    workspace = ArkerWorkspace(arker)
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout"):
            await workspace.run(["true"], timeout=seconds)


@pytest.mark.anyio
async def test_commands_run_at_once(arker: AsyncArker) -> None:
    workspace = ArkerWorkspace(arker)
    await workspace.run("mkfifo pipe", shell=True)
    found: list[str] = []

    async def read() -> None:
        found.append((await workspace.run(["cat", "pipe"], timeout=30)).stdout)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await workspace.run("echo hello > pipe", shell=True, timeout=30)
    assert found == ["hello\n"]


def test_the_ref_of_another_provider_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="ref"):
        ArkerWorkspace(AsyncArker("k", region="r", ledger=False), ref=WorkspaceRef(provider="other", id="x"))


def test_the_page_s_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        assert run_page("pydantic-ai", tmp_path)
        assert count_vms() == 0
