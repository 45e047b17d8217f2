"""Every command on the cloud's settings, against a scripted server that records what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from arker import AsyncArker, NotFoundError
from arker._cli.names import PLAIN, WITH_EXTRA
from tests.command_line.support import Done, Program
from tests.command_line.test_shell import typist
from tests.support.clients import COMPUTE, CONTROL, make_client
from tests.support.secrets import API_KEY
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok

VM: Final = "01HZX3K5M7N9P1Q3R5S7T9V1W3"
ENDED: Final[dict[str, Any]] = {
    "run_id": "run-1",
    "session_id": "ses-0",
    "command": "make",
    "state": "completed",
    "started_at": "2026-11-29T10:00:00Z",
    "completed_at": "2026-11-29T10:00:01Z",
    "exit_code": 3,
    "stdout": "made\n",
    "stdout_encoding": "utf-8",
    "stderr": "",
    "stderr_encoding": "utf-8",
    "tunnels": [],
    "retry_count": 0,
}
SUMMARY: Final[dict[str, Any]] = {
    name: ENDED[name] for name in ("run_id", "session_id", "command", "state", "started_at", "exit_code")
}


def machine(**fields: Any) -> dict[str, Any]:
    return {
        "vm_id": VM,
        "owner_org_id": "org-1",
        "created_at": "2026-11-29T10:00:00Z",
        "name": "web",
        "public": False,
        "state": "idle",
        "network": {},
        "sessions": [{"session_id": "ses-0", "session_idx": 0, "state": "idle", "cwd": "/root"}],
        "resources": {"vcpu": 2, "memory_mib": 2048},
        "description": None,
        "region": "us-west-2",
        "provider": "aws",
        **fields,
    }


def answer(request: Recorded) -> Reply:
    """Answer as a server of generation 1."""
    control = request.path.startswith(CONTROL)
    path = request.path.removeprefix(CONTROL if control else COMPUTE).removeprefix("/v1/")
    replies: dict[tuple[str, str], Any] = {
        ("POST", "fork"): machine(vm_id="01J00000000000000000000000"),
        ("GET", "vms"): {"vms": [machine()]},
        ("GET", "vms/web"): machine(),
        ("GET", f"vms/{VM}"): machine(),
        ("DELETE", f"vms/{VM}"): {"deleted": True},
        ("POST", f"vms/{VM}/runs"): {"run_id": "run-1", "session_id": "ses-0", "state": "running"},
        ("GET", f"vms/{VM}/runs"): {"runs": [SUMMARY]},
        ("GET", f"vms/{VM}/runs/run-1"): ENDED,
        ("GET", "whoami"): {"org_id": "org-1", "org_name": "Example"},
        ("GET", "regions"): {"regions": [{"provider": "aws", "region": "us-west-2", "endpoint": "https://e"}]},
    }
    found = replies.get((request.method, path))
    if found is None:
        return error("not_found", f"there is no {path}", status=404)
    return ok(found, status=202 if path.endswith("/runs") and request.method == "POST" else 200)


@pytest.fixture
def cloud(bare: Program, server: ScriptedServer) -> Program:
    """Return the program with the settings of a cloud, whose server is the scripted one."""
    server.answer(answer)
    env = {
        "ARKER_API_KEY": API_KEY,
        "ARKER_BASE_URL": server.url + COMPUTE,
        "ARKER_CONTROL_BASE_URL": server.url + CONTROL,
        "ARKER_GENERATION": "1",
        "ARKER_LEDGER": str(bare.cwd / "ledger"),
    }
    return Program(bare.runner, {**bare.env, **env}, bare.cwd)


Check = Callable[[Done], object]


def prints(text: str, status: int = 0) -> Check:
    def check(done: Done) -> None:
        assert (done.status, done.err) == (status, "")
        assert text in done.out

    return check


def fails(text: str, status: int = 1) -> Check:
    def check(done: Done) -> None:
        assert (done.status, done.out) == (status, "")
        assert text in done.err
        assert done.err.count("\n") == 1

    return check


USES: Final[dict[str, tuple[tuple[str, ...], list[str], Check]]] = {
    "fork": (("ubuntu", "--cpu", "2"), ["POST /compute/api/v1/fork"], prints("01J00000000000000000000000\n")),
    "ls": ((), ["GET /control/api/v1/vms"], prints("2 GiB")),
    "rm": (("web",), ["GET /compute/api/v1/vms/web", f"DELETE /compute/api/v1/vms/{VM}"], prints(f"{VM}\n")),
    "snapshot": (
        ("web", "kept"),
        ["GET /compute/api/v1/vms/web", "POST /compute/api/v1/fork"],
        prints("01J00000000000000000000000\n"),
    ),
    "run": (
        ("web", "--no-stdin", "--", "make"),
        ["GET /compute/api/v1/vms/web", f"POST /compute/api/v1/vms/{VM}/runs"],
        prints("made\n", 3),
    ),
    "shell": (("web",), ["GET /compute/api/v1/vms/web"], fails("not_found", 125)),
    "cp": (("web:/f", "-"), ["GET /compute/api/v1/vms/web"], fails("not_found")),
    "logs": (
        ("run-1", "--vm", "web"),
        ["GET /compute/api/v1/vms/web", f"GET /compute/api/v1/vms/{VM}/runs/run-1"],
        prints("made\n"),
    ),
    "runs": (("web",), ["GET /compute/api/v1/vms/web", f"GET /compute/api/v1/vms/{VM}/runs"], prints("run-1")),
    "tunnel": (("web", "80"), ["GET /compute/api/v1/vms/web"], fails("tunnel")),
    "watch": (("--once",), ["GET /control/api/v1/vms"], prints("web")),
    "whoami": ((), ["GET /control/api/v1/whoami"], prints("org-1  Example\n")),
    "regions": ((), ["GET /control/api/v1/regions"], prints("us-west-2")),
    "completion": (("bash",), [], prints("arker")),
    "reap": ((), [], prints("0 deleted")),
}
"""Of each command: words, the requests that it begins with, and what becomes of it."""


def test_every_command_is_tried() -> None:
    assert set(USES) == {*PLAIN, *WITH_EXTRA} - {"doctor", "emulator"}  # which ask no server


@pytest.mark.parametrize("name", sorted(USES))
def test_what_is_asked_of_the_cloud(cloud: Program, server: ScriptedServer, name: str) -> None:
    words, wanted, check = USES[name]
    done = cloud(name, *words)
    check(done)
    asked = [f"{request.method} {request.path}" for request in server.requests]
    assert asked[: len(wanted)] == wanted
    assert all(request.headers["Authorization"] == f"Bearer {API_KEY}" for request in server.requests)
    assert API_KEY not in done.out + done.err


def test_a_fork_sends_what_was_asked_for(cloud: Program, server: ScriptedServer) -> None:
    words = ("--cpu", "2", "--memory", "1.5G", "--network", "blocked", "--files-only", "--command", "make serve")
    cloud.good("fork", VM, *words, "--name", "child", "--queueing-timeout", "1m", "--idempotency-key", "key-1")
    body = server.last.json
    assert server.last.key == "key-1"
    assert (body["source_vm_id"], body["name"], body["layers"]) == (VM, "child", ["disk"])
    assert body["resources"] == {"vcpu": 2, "memory_mib": 1536}
    assert (body["command"], body["queueing_timeout"]) == ("make serve", 60)
    assert body["policies"]


@pytest.mark.parametrize("name", sorted({*WITH_EXTRA, "reap"} - {"completion"}))
def test_without_a_key_or_a_server_it_is_one_line(bare: Program, name: str) -> None:
    words = USES[name][0]
    usage = 125 if name in {"run", "shell"} else 2
    done = bare(name, *words)
    assert done.err.startswith("arker: an API key is required: set ARKER_API_KEY")
    assert ("--local" in done.err) == (name != "reap")
    assert (done.status, done.out, done.err.count("\n")) == (usage, "", 1)
    if name == "reap":
        return
    env = {
        "ARKER_API_KEY": API_KEY,
        "ARKER_BASE_URL": "http://127.0.0.1:9/api",
        "ARKER_CONTROL_BASE_URL": "http://127.0.0.1:9/api",
    }
    done = bare.with_env(env)(name, *words)
    assert (done.status, done.out, done.err.count("\n")) == (125 if usage == 125 else 1, "", 1)
    assert "127.0.0.1" in done.err or "network_error" in done.err


def test_colours_come_on_a_terminal_only_and_not_with_no_color(cloud: Program, tmp_path: Path) -> None:
    def shown(**env: str) -> str:
        with typist(cloud.with_env(env), "ls") as person:
            return person.until(r"web.*\n")

    assert "\x1b[1m" in shown()
    assert "\x1b[1;" not in shown(NO_COLOR="1")
    assert "\x1b" not in cloud.good("ls")
    assert "\x1b" not in cloud.good("ls", "--help", NO_COLOR="1")


@pytest.mark.anyio
async def test_find_vm_looks_in_the_list_for_vms_of_other_regions(server: ScriptedServer) -> None:
    away = machine(vm_id="01J00000000000000000000001", name="away", region="eu-central-1", provider="gcp")
    server.answer(lambda request: ok({"vms": [machine(), away]}))
    async with AsyncArker(API_KEY, control_base_url=server.url + CONTROL, ledger=False, generation="1") as client:
        for name in ("away", "01J00000000000000000000001"):
            found = await client.find_vm(name)
            assert (found.id, found.base_url) == (away["vm_id"], "https://gcp-eu-central-1.arker.ai/api")
        with pytest.raises(NotFoundError, match="there is no VM 'nothing' in any region") as raised:
            await client.find_vm("nothing", deadline=30)
        assert raised.value.operation == "find_vm"


@pytest.mark.anyio
async def test_find_vm_asks_only_the_base_url_that_was_set(server: ScriptedServer) -> None:
    server.answer(answer)
    async with make_client(server, generation="1") as client:
        assert (await client.find_vm("web")).id == VM
        with pytest.raises(NotFoundError):
            await client.find_vm("nothing")
    assert {request.path for request in server.requests} == {f"{COMPUTE}/v1/vms/web", f"{COMPUTE}/v1/vms/nothing"}
