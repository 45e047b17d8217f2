"""Inspect's self-check of sandboxes, and small evaluations."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import SandboxEnvironmentSpec, sandbox
from inspect_ai.util._sandbox.self_check import *  # noqa: F403 - the tests, as their module says

from arker import AsyncArker
from arker.emulator import Emulator
from arker.integrations.inspect_ai import ArkerSandboxConfig, ArkerSandboxEnvironment
from tests.conformance.support import count_vms, run_page, set_environment

LEFT_OUT = {"test_exec_as_user": "commands in a VM run as its own user"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Mark the framework's coroutines for anyio's plugin."""
    if metafunc.function.__module__.startswith("inspect_ai."):
        metafunc.definition.add_marker(pytest.mark.anyio)


@pytest.fixture
async def sandbox_env(
    request: pytest.FixtureRequest, arker: AsyncArker, anyio_backend: str
) -> AsyncIterator[ArkerSandboxEnvironment]:
    if request.node.originalname in LEFT_OUT:
        request.applymarker(pytest.mark.xfail(reason=LEFT_OUT[request.node.originalname], strict=True))
    async with await arker.fork("ubuntu") as vm:
        yield ArkerSandboxEnvironment(vm)


@solver
def doubles() -> Solver:
    """Let a program in the sandbox compute the answer."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        result = await sandbox().exec(["python3", "-c", f"print(2 * {state.input_text})"])
        await sandbox().write_file("answer.txt", result.stdout.strip())
        return state

    return solve


@scorer(metrics=[accuracy()])
def in_the_file() -> Scorer:
    """Compare the file in the sandbox, and what has been prepared there."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = await sandbox().read_file("answer.txt")
        prepared = await sandbox().read_file("/srv/prepared")
        return Score(value=int((answer, prepared) == (target.text, "yes\n")), answer=answer)

    return score


@pytest.mark.parametrize("by_file", [False, True], ids=["value", "file"])
def test_an_evaluation_runs_and_leaves_no_vm(by_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setup = "mkdir -p /srv && echo yes > /srv/prepared && echo x >> /srv/count"
    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        file = tmp_path / "arker.yaml"
        file.write_text(f"source: ubuntu\nsetup: {setup}\n")
        task = Task(
            dataset=[Sample(input=str(number), target=str(2 * number)) for number in range(8)],
            solver=doubles(),
            scorer=in_the_file(),
            sandbox=("arker", str(file))
            if by_file
            else SandboxEnvironmentSpec("arker", ArkerSandboxConfig(setup=setup)),
        )
        (log,) = eval(task, model="mockllm/model", log_dir=str(tmp_path / "logs"), display="none")
        assert log.status == "success", log.error
        assert log.results is not None
        assert log.results.scores[0].metrics["accuracy"].value == 1.0
        assert count_vms() == 0


def test_a_file_may_be_edited_meanwhile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "arker.yaml"
    file.write_text("setup: echo before > /tmp/prepared\n")

    @solver
    def edits() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            file.write_text("setup: echo after > /tmp/prepared\n")
            state.output.completion = await sandbox().read_file("/tmp/prepared")
            return state

        return solve

    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        samples = [Sample(input=str(number)) for number in range(3)]
        for word in ("before", "after"):
            task = Task(dataset=samples, solver=edits(), sandbox=("arker", str(file)))
            (log,) = eval(task, model="mockllm/model", log_dir=str(tmp_path / "logs"), display="none", max_samples=1)
            assert log.status == "success", log.error
            assert [sample.output.completion for sample in log.samples or ()] == [f"{word}\n"] * 3
            assert count_vms() == 0


def test_the_page_s_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        assert run_page("inspect-ai", tmp_path)
        assert count_vms() == 0


KILLED = """
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.solver import solver
from inspect_ai.util import sandbox

@solver
def waits():
    async def solve(state, generate):
        await sandbox().exec(["sleep", "600"])
        return state
    return solve

eval(
    Task(dataset=[Sample(input=str(number)) for number in range(20)], solver=waits(), sandbox="arker"),
    model="mockllm/model", display="none", max_samples=20, max_sandboxes=20,
)
"""


def test_the_vms_of_a_killed_evaluation_are_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        process = subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path)
        try:
            deadline = time.monotonic() + 120
            while count_vms() < 20:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
        assert count_vms() == 20
        subprocess.run([sys.executable, "-m", "arker", "reap"], check=True, timeout=120)
        assert count_vms() == 0
