"""harbor's command line, offline: a task by the agent that knows its solution, ten trials at once, and a kill."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from harbor.environments.base import SandboxBuildFailedError
from harbor.models.task.config import EnvironmentConfig, NetworkPolicy
from harbor.models.trial.paths import TrialPaths

from arker import ApiError, AsyncArker, models
from arker.emulator import Emulator
from arker.integrations.harbor import ArkerEnvironment
from tests.conformance.support import ROOT, count_vms, run_page, set_environment

ENVIRONMENT = "arker.integrations.harbor:ArkerEnvironment"
SECONDS = 300


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        monkeypatch.setenv("HARBOR_TELEMETRY", "0")
        monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        monkeypatch.chdir(tmp_path)
        yield emulator


def write(files: Mapping[str, str], place: Path) -> Path:
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return place


TASK = {
    "task.toml": """\
version = "1.0"
[agent]
timeout_sec = 120
[verifier]
timeout_sec = 120
[environment]
memory_mb = 512
""",
    "instruction.md": "Write the sum of the numbers to the file $TARGET.\n",
    "environment/Dockerfile": """\
FROM ubuntu:24.04
ENV TARGET=/srv/task/sum
WORKDIR /srv/task
COPY data/ numbers/
COPY data/first.txt extra.txt
RUN cat numbers/*.txt > all.txt && echo built >> /srv/built
""",
    "environment/data/first.txt": "1\n2\n",
    "environment/data/second.txt": "3\n4\n",
    "solution/solve.sh": '#!/bin/bash\necho $(($(paste -sd+ all.txt) + $(paste -sd+ extra.txt))) > "$TARGET"\n',
    "tests/test.sh": """\
#!/bin/bash
echo 0 > /logs/verifier/reward.txt
[ "$(cat sum)" = 13 ] && [ "$(cat /srv/built)" = built ] && [ "$PWD" = /srv/task ] || exit 0
echo 1 > /logs/verifier/reward.txt
""",
}


def run_harbor(*arguments: str) -> dict[str, Any]:
    """Run harbor, and return what it says at the end."""
    command = ["harbor", "run", "--yes", "-a", "oracle", "-o", "jobs", "--env", ENVIRONMENT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = Path("jobs").glob("*/result.json")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def rewards() -> list[float]:
    return [float(path.read_text()) for path in Path("jobs").glob("*/*/verifier/reward.txt")]


def test_the_oracle_solves_a_task(emulator: Emulator, tmp_path: Path) -> None:
    write(TASK, tmp_path / "task")
    assert run_harbor("-p", "task")["stats"]["n_errored_trials"] == 0
    assert rewards() == [1.0]
    assert count_vms() == 0


def test_ten_trials_run_at_once(emulator: Emulator, tmp_path: Path) -> None:
    write(TASK, tmp_path / "task")
    stats = run_harbor("-p", "task", "-k", "10", "-n", "10")["stats"]
    assert (stats["n_completed_trials"], stats["n_errored_trials"]) == (10, 0)
    assert rewards() == [1.0] * 10
    assert count_vms() == 0
    forks = [entry for entry in emulator.journal.requests() if entry.operation == "fork"]
    assert len(forks) == 11  # one is built from the Dockerfile, and the others are forks of it


def test_a_wrong_solution_gets_nothing(emulator: Emulator, tmp_path: Path) -> None:
    write({**TASK, "solution/solve.sh": '#!/bin/bash\necho 12 > "$TARGET"\n'}, tmp_path / "task")
    run_harbor("-p", "task")
    assert rewards() == [0.0]


def test_a_dockerfile_that_fails_is_told(emulator: Emulator, tmp_path: Path) -> None:
    write({**TASK, "environment/Dockerfile": "FROM ubuntu\nRUN echo oops >&2; exit 7\n"}, tmp_path / "task")
    assert run_harbor("-p", "task")["stats"]["n_errored_trials"] == 1
    (told,) = Path("jobs").glob("*/*/exception.txt")
    assert "exit code 7: oops" in told.read_text()
    assert count_vms() == 0


def test_the_vms_of_a_killed_run_are_reaped(emulator: Emulator, tmp_path: Path) -> None:
    write({**TASK, "solution/solve.sh": "#!/bin/bash\nsleep 600\n"}, tmp_path / "task")
    command = ["harbor", "run", "--yes", "-a", "oracle", "-p", "task", "-k", "20", "-n", "20", "--env", ENVIRONMENT]
    with open("output", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + SECONDS
            while count_vms() < 21:
                assert process.poll() is None, Path("output").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
    assert count_vms() == 21  # those of the trials, and the one that they are forks of
    subprocess.run([sys.executable, "-m", "arker", "reap"], check=True, timeout=SECONDS)
    assert count_vms() == 0


def test_the_page_s_programs_run(emulator: Emulator, tmp_path: Path) -> None:
    assert run_page("harbor", tmp_path)
    page = (ROOT / "docs" / "integrations" / "harbor.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^harbor run .*$", page, re.MULTILINE)
    subprocess.run(command, shell=True, check=True, timeout=SECONDS, capture_output=True)
    assert rewards() == [1.0] * 10
    assert count_vms() == 0


def make(place: Path, config: EnvironmentConfig | None = None, **options: Any) -> ArkerEnvironment:
    """Make an environment as a trial does, without starting it."""
    return ArkerEnvironment(
        environment_dir=place / "environment",
        environment_name="task",
        session_id="task__1__env",
        trial_paths=TrialPaths(place / "trial"),
        task_env_config=config or EnvironmentConfig(),
        logger=logging.getLogger("test"),
        **options,
    )


@pytest.fixture
async def environment(emulator: Emulator, tmp_path: Path, anyio_backend: str) -> AsyncIterator[ArkerEnvironment]:
    environment = make(write(TASK, tmp_path / "task"), persistent_env={"FROM_TRIAL": "1", "BOTH": "trial"})
    await environment.start(force_build=False)
    yield environment
    await environment.stop(delete=True)
    with pytest.raises(RuntimeError, match="stopped"):
        await environment.exec("true")


@pytest.mark.anyio
async def test_commands(environment: ArkerEnvironment) -> None:
    result = await environment.exec("pwd; echo $TARGET $FROM_TRIAL $BOTH; echo oops >&2; exit 3", env={"BOTH": "call"})
    assert result.stdout == "/srv/task\n/srv/task/sum 1 call\n"
    assert (result.stderr, result.return_code) == ("oops\n", 3)
    assert (await environment.exec("pwd", cwd="/tmp", user="root")).stdout == "/tmp\n"
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        await environment.exec("sleep 60", timeout_sec=1)
    with environment.with_default_user("somebody"), pytest.raises(RuntimeError, match="somebody"):
        await environment.exec("true")
    assert await environment.is_dir("/srv/task")
    assert not await environment.is_file("/srv/task")


@pytest.mark.anyio
async def test_a_dockerfile_names_what_the_base_image_sets(emulator: Emulator, tmp_path: Path) -> None:
    lines = [
        "FROM ubuntu:24.04",
        'ENV PATH="/opt/tools/bin:$PATH" CACHE=${HOME}/cache LANG=C.UTF-8',
        "RUN mkdir -p /opt/tools/bin && echo 'echo tool' > /opt/tools/bin/tool && chmod +x /opt/tools/bin/tool",
        "RUN tool > /srv/told",
        "WORKDIR $CACHE",
    ]
    place = write({"environment/Dockerfile": "\n".join(lines) + "\n"}, tmp_path / "task")
    async with AsyncArker() as client, await client.fork("ubuntu") as vm:
        path, home = (await vm.run("echo $PATH; cd; pwd", check=True)).stdout_text.split()
    for source in (None, "ubuntu"):
        environment = make(place, **({} if source is None else {"source": source}))
        await environment.start(force_build=False)
        result = await environment.exec("echo $PATH; pwd; cat /srv/told 2>/dev/null", env={"PWD": "/"})
        told = "" if source is not None else "tool\n"
        assert result.stdout == f"/opt/tools/bin:{path}\n{home}/cache\n{told}"
        await environment.stop(delete=True)


@pytest.mark.anyio
async def test_output_comes_as_it_is_written(environment: ArkerEnvironment) -> None:
    came: list[tuple[str, str]] = []

    async def take(text: str, stream: str) -> None:
        came.append((stream, text))
        if text == "one\n":
            await environment.exec("touch /tmp/seen")

    with environment.scoped_output_callback(take):
        await environment.exec(
            "echo one; until [ -e /tmp/seen ]; do sleep 0.05; done; echo two >&2", timeout_sec=SECONDS
        )
    assert came == [("stdout", "one\n"), ("stderr", "two\n")]


@pytest.mark.anyio
async def test_files(environment: ArkerEnvironment, tmp_path: Path) -> None:
    here = write({"a.txt": "a", "sub/b.txt": "b"}, tmp_path / "here")
    await environment.upload_dir(here, "/srv/there")
    await environment.upload_file(here / "a.txt", "/srv/new/c.txt")
    assert (await environment.exec("cat /srv/there/a.txt /srv/there/sub/b.txt /srv/new/c.txt")).stdout == "aba"
    await environment.download_dir("/srv/there", tmp_path / "back")
    await environment.download_file("/srv/new/c.txt", tmp_path / "deep" / "c.txt")
    assert (tmp_path / "back" / "sub" / "b.txt").read_text() == "b"
    assert (tmp_path / "deep" / "c.txt").read_text() == "a"
    await environment.download_dir_with_exclusions(
        source_dir="/srv/there", target_dir=tmp_path / "some", exclude=["sub"]
    )
    assert [path.name for path in (tmp_path / "some").rglob("*")] == ["a.txt"]


@pytest.mark.anyio
async def test_policies_of_the_network(environment: ArkerEnvironment) -> None:
    hosts = ["example.com", "*.example.com", "192.0.2.1"]
    allowed = NetworkPolicy.model_validate({"network_mode": "allowlist", "allowed_hosts": hosts})
    for policy, found in (
        (NetworkPolicy.model_validate({"network_mode": "no-network"}), models.NetworkPolicyBlocked()),
        (NetworkPolicy(), models.NetworkPolicyOpen()),
    ):
        await environment.set_network_policy(policy)
        assert (await environment.vm.refresh()).network == found
    await environment.set_network_policy(allowed)
    network = (await environment.vm.refresh()).network
    assert isinstance(network, models.NetworkPolicyAllow)
    assert set(network.allow) == set(hosts)
    for wrong in (["example.com"], ["*.example.com"], ["example.com", "*.example.org", "example.org"]):
        policy = NetworkPolicy.model_validate({"network_mode": "allowlist", "allowed_hosts": wrong})
        with pytest.raises(ValueError, match=r"allowed_hosts: .* '\*\.example.com'"):
            await environment.set_network_policy(policy)
    ranges = NetworkPolicy.model_validate({"network_mode": "allowlist", "allowed_hosts": ["192.0.2.0/24"]})
    with pytest.raises(ValueError, match="IPv4"):
        await environment.set_network_policy(ranges)


@pytest.mark.anyio
async def test_a_vm_can_be_kept_and_forked(environment: ArkerEnvironment, tmp_path: Path) -> None:
    other = make(tmp_path / "task")
    await other.start(force_build=False)
    await other.exec("echo 5 > /srv/five")
    kept = other.vm
    await other.stop(delete=False)
    await other.stop(delete=False)
    assert (await kept.snapshot("five")).name == "five"
    forked = make(tmp_path / "task", source="five")
    await forked.start(force_build=False)
    assert (await forked.exec("cat /srv/five; echo $TARGET")).stdout == "5\n/srv/task/sum\n"
    await forked.stop(delete=True)
    await kept.delete()


@pytest.mark.anyio
async def test_an_image_that_is_not_to_be_had(emulator: Emulator, tmp_path: Path) -> None:
    place = write({"environment/Dockerfile": "FROM python:3.12\n"}, tmp_path / "task")
    environment = make(place)
    with pytest.raises(ApiError, match="image"):
        await environment.start(force_build=False)
    await environment.stop(delete=True)
    stands_in = make(place, source="ubuntu")
    await stands_in.start(force_build=False)
    assert (await stands_in.exec("pwd")).stdout == "/\n"
    await stands_in.stop(delete=True)
    image = make(place, EnvironmentConfig(docker_image="ubuntu:24.04"))
    await image.start(force_build=False)
    await image.stop(delete=True)
    async with AsyncArker() as client:
        assert not (await client.list_vms()).vms


REFUSED: Sequence[tuple[dict[str, str], str]] = [
    ({}, "Dockerfile"),
    ({"environment/docker-compose.yaml": "services: {}\n"}, "compose"),
    ({"environment/Dockerfile": "FROM a AS x\nFROM b\nCOPY --from=x /a /b\n"}, "single-stage"),
    ({"environment/Dockerfile": "FROM a\nUSER www-data\nRUN true\n"}, "USER www-data"),
    ({"environment/Dockerfile": "FROM a\nUSER www-data\n"}, "USER www-data"),
    ({"environment/Dockerfile": "FROM a\nCOPY --chown=1 x /x\n"}, "chown"),
    ({"environment/Dockerfile": "FROM a\nCOPY x /x\n", "environment/.dockerignore": "y\n"}, "dockerignore"),
]


@pytest.mark.parametrize(("files", "told"), REFUSED)
def test_what_a_vm_cannot_be_is_refused_at_once(files: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises((SandboxBuildFailedError, FileNotFoundError), match=told):
        make(write(files, tmp_path / "task"))


def test_options_are_checked(tmp_path: Path) -> None:
    place = write(TASK, tmp_path / "task")
    with pytest.raises(ValueError, match="unknown"):
        make(place, unknown=1)
    with pytest.raises(ValueError, match="source"):
        make(place, source=1)


@pytest.mark.anyio
async def test_a_copy_is_of_what_is_there(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for number, (line, told) in enumerate([("COPY none /x", "none"), ("COPY link /x", "leads out")]):
        place = write({"environment/Dockerfile": f"FROM ubuntu\n{line}\n"}, tmp_path / str(number))
        (place / "environment" / "link").symlink_to(tmp_path / "secret")
        environment = make(place)
        with pytest.raises(SandboxBuildFailedError, match=told):
            await environment.start(force_build=False)
