"""Sessions of the OpenAI Agents SDK, held to what its own documentation says of clients and sessions."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest
from agents import RunConfig, Runner
from agents.run_config import SandboxRunConfig
from agents.sandbox import SandboxAgent
from agents.sandbox.errors import (
    ExecTimeoutError,
    ExecTransportError,
    ExposedPortUnavailableError,
    InvalidManifestPathError,
    PtySessionNotFoundError,
    WorkspaceArchiveReadError,
    WorkspaceArchiveWriteError,
    WorkspaceReadNotFoundError,
    WorkspaceWriteTypeError,
)
from agents.sandbox.session import SandboxSession
from agents.sandbox.session.pty_types import PtyExecUpdate
from agents.sandbox.snapshot import LocalSnapshotSpec
from agents.tracing import set_tracing_disabled

from arker import AsyncArker
from arker.emulator import Emulator
from arker.errors import InvalidArgumentError
from arker.integrations.openai_agents import ArkerSandboxClient, ArkerSandboxClientOptions, ArkerSandboxSessionState
from tests.conformance.agents import MANIFEST, ScriptedModel
from tests.conformance.agents import anyio_backend as anyio_backend  # the fixtures
from tests.conformance.agents import client as client
from tests.conformance.agents import session as session
from tests.conformance.support import count_vms, run_page, set_environment

pytestmark = pytest.mark.anyio
set_tracing_disabled(True)


def vm_id(session: SandboxSession) -> str:
    assert isinstance(session.state, ArkerSandboxSessionState)
    return session.state.vm_id


async def ids(arker: AsyncArker) -> list[str]:
    return [vm.vm_id for vm in (await arker.list_vms()).vms]


# --- commands --------------------------------------------------------------------------------------------------------


async def test_commands(session: SandboxSession) -> None:
    result = await session.exec('pwd; echo "$GREETING" >&2; cat a.txt sub/b.txt passing.txt; exit 3')
    assert (result.stdout, result.exit_code) == (b"/workspace\na\nb\npassing\n", 3)
    assert result.stderr == b"hello, it's\n"
    assert not result.ok()
    assert (await session.exec("printf", "%s|", "a b", "c'd", shell=False)).stdout == b"a b|c'd|"
    assert (await session.exec("echo", "a  b")).stdout == b"a  b\n"
    assert (await session.exec("echo ${BASH_VERSION:+bash}", shell=["bash", "-c"])).stdout == b"bash\n"
    assert (await session.exec("printf '\\377\\000'")).stdout == b"\xff\0"
    user = (await session.exec("id -un")).stdout.decode().strip()
    assert (await session.exec("echo", "mine", user=user)).stdout == b"mine\n"


async def test_a_command_has_a_time_limit_and_ends_with_its_call(session: SandboxSession) -> None:
    with pytest.raises(ExecTimeoutError):
        await session.exec("sleep 61", timeout=0.5)
    call = asyncio.create_task(session.exec("touch began; exec sleep 62"))
    while not (await session.exec("test -e began")).ok():
        await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    left = await session.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '[s]leep 6[12]'")
    assert left.stdout == b""


async def test_commands_run_at_once(session: SandboxSession) -> None:
    await session.exec("mkfifo pipe")
    read, _ = await asyncio.gather(session.exec("cat pipe"), session.exec("echo through > pipe"))
    assert read.stdout == b"through\n"


async def test_a_command_goes_on_between_calls(session: SandboxSession) -> None:
    update = await session.pty_exec_start(
        "echo one; until [ -e go ]; do sleep 0.1; done; echo two >&2; exit 3", yield_time_s=1
    )
    while update.output != b"one\n":
        assert update.process_id is not None
        more = await session.pty_write_stdin(session_id=update.process_id, chars="", yield_time_s=1)
        update = evolved(update, more)
    number = update.process_id
    assert number is not None
    with pytest.raises(RuntimeError, match=r"^stdin is not available for this process$"):
        await session.pty_write_stdin(session_id=number, chars="x")
    await session.exec("touch go")
    update = await until_the_end(session, update)
    assert (update.output, update.exit_code, update.process_id) == (b"one\ntwo\n", 3, None)
    with pytest.raises(PtySessionNotFoundError):
        await session.pty_write_stdin(session_id=number, chars="")
    quick = await session.pty_exec_start("yes | head -c 100000", max_output_tokens=100)
    assert (quick.exit_code, quick.process_id) == (0, None)
    assert len(quick.output) < 2000
    assert quick.original_token_count is not None
    assert quick.original_token_count > 1000


def evolved(first: PtyExecUpdate, then: PtyExecUpdate) -> PtyExecUpdate:
    return PtyExecUpdate(then.process_id, first.output + then.output, then.exit_code, None)


async def until_the_end(session: SandboxSession, update: PtyExecUpdate) -> PtyExecUpdate:
    while update.process_id is not None:
        update = evolved(update, await session.pty_write_stdin(session_id=update.process_id, chars="", yield_time_s=1))
    return update


async def test_a_terminal_is_written_to(session: SandboxSession) -> None:
    program = "import os\nprint(os.ttyname(0)[:8], os.getcwd(), input('name? '), os.environ['GREETING'])"
    update = await session.pty_exec_start("python3", "-c", program, shell=False, tty=True, yield_time_s=1)
    while b"name? " not in update.output:
        assert update.process_id is not None
        more = await session.pty_write_stdin(session_id=update.process_id, chars="", yield_time_s=1)
        update = evolved(update, more)
    assert update.process_id is not None
    update = evolved(update, await session.pty_write_stdin(session_id=update.process_id, chars="Ada\n"))
    update = await until_the_end(session, update)
    assert update.output == b"name? Ada\r\n/dev/pts /workspace Ada hello, it's\r\n"
    assert update.exit_code == 0
    assert (await session.exec("ls /tmp/arker-command* 2>/dev/null")).stdout == b""


@pytest.mark.parametrize("tty", [True, False])
async def test_commands_that_go_on_have_an_end(session: SandboxSession, tty: bool) -> None:
    update = await session.pty_exec_start("exec sleep 63", tty=tty, timeout=0.5)
    update = await until_the_end(session, update)
    assert update.exit_code == 137
    for _ in range(2):
        assert (await session.pty_exec_start("exec sleep 64", tty=tty, yield_time_s=0)).process_id is not None
    await session.pty_terminate_all()
    left = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '[s]leep 6[34]'"
    while (await session.exec(left)).stdout:
        await asyncio.sleep(0.1)


# --- files -----------------------------------------------------------------------------------------------------------


async def test_files(session: SandboxSession) -> None:
    await session.write(Path("new/deep/c.txt"), io.BytesIO(b"one"))
    await session.write(Path("/workspace/new/text.txt"), io.StringIO("zwei: ü"))
    assert (await session.read(Path("/workspace/new/deep/c.txt"))).read() == b"one"
    assert (await session.read(Path("new/text.txt"))).read() == "zwei: ü".encode()
    assert await session.read_bounded(Path("a.txt"), max_bytes=1) == b"a"
    assert await session.read_bounded(Path("a.txt"), max_bytes=100) == b"a\n"
    await session.mkdir("x/y", parents=True)
    await session.mv("new/text.txt", "x/y/text.txt")
    assert {Path(entry.path).name for entry in await session.ls("x/y")} == {"text.txt"}
    await session.rm("x", recursive=True)
    assert not (await session.exec("test -e x")).ok()
    assert await session.same_file("a.txt", "/workspace/sub/../a.txt")
    await session.apply_patch([{"type": "create_file", "path": "patched.txt", "diff": "+patched\n"}])
    assert (await session.read(Path("patched.txt"))).read().startswith(b"patched")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(__file__, "this.py")
    archive.seek(0)
    await session.extract("unpacked/all.tar", archive)
    assert (await session.exec("test -s unpacked/this.py")).ok()


async def test_mistakes_about_files_are_the_framework_s(session: SandboxSession) -> None:
    with pytest.raises(WorkspaceReadNotFoundError):
        await session.read(Path("none"))
    with pytest.raises(WorkspaceReadNotFoundError):
        await session.read_bounded(Path("none"), max_bytes=1)
    with pytest.raises(WorkspaceArchiveReadError):
        await session.read(Path("sub"))
    with pytest.raises(WorkspaceArchiveWriteError):
        await session.write(Path("sub"), io.BytesIO(b""))
    with pytest.raises(WorkspaceWriteTypeError):
        await session.write(Path("c"), Words())
    with pytest.raises(InvalidManifestPathError):
        await session.read(Path("/etc/hostname"))
    with pytest.raises(InvalidManifestPathError):
        await session.write(Path("../out"), io.BytesIO(b""))
    await session.exec("ln -s /etc out")
    with pytest.raises(InvalidManifestPathError):
        await session.read(Path("out/hostname"))
    with pytest.raises(InvalidManifestPathError):
        await session.write(Path("out/new"), io.BytesIO(b""))


class Words(io.IOBase):
    def read(self, size: int = -1) -> list[str]:
        return ["neither text nor bytes"]


# --- its life --------------------------------------------------------------------------------------------------------


async def test_a_session_that_is_closed_leaves_no_vm(arker: AsyncArker, client: ArkerSandboxClient) -> None:
    session = await client.create()
    await session.start()
    assert await session.running()
    assert await ids(arker) == [vm_id(session)]
    await session.aclose()
    assert await ids(arker) == []
    assert not await session.running()
    await client.delete(session)
    with pytest.raises(ExecTransportError):
        await session.exec("true")


async def test_a_state_is_taken_up_again_from_its_snapshot(
    arker: AsyncArker, client: ArkerSandboxClient, tmp_path: Path
) -> None:
    snapshot = LocalSnapshotSpec(base_path=tmp_path)
    async with await client.create(manifest=MANIFEST, snapshot=snapshot) as session:
        await session.exec("echo 2 > a.txt; chmod 755 a.txt; ln -s a.txt link; rm -r sub; echo 3 > passing.txt")
        first = vm_id(session)
    assert await ids(arker) == []
    saved = json.dumps(client.serialize_session_state(session.state))
    state = ArkerSandboxClient(arker).deserialize_session_state(json.loads(saved))
    async with await ArkerSandboxClient(arker).resume(state) as session:
        assert vm_id(session) != first
        result = await session.exec('cat link; stat -c %a a.txt; ls; echo "$GREETING"')
        assert result.stdout == b"2\n755\na.txt\nlink\npassing.txt\nhello, it's\n"
        assert (await session.read(Path("passing.txt"))).read() == b"passing\n"  # what is ephemeral is made anew
    assert await ids(arker) == []


@pytest.mark.parametrize("keep", [True, False])
async def test_a_session_goes_on_in_a_vm_that_is_there(
    arker: AsyncArker, client: ArkerSandboxClient, tmp_path: Path, keep: bool
) -> None:
    options = ArkerSandboxClientOptions(keep=keep)
    session = await client.create(manifest=MANIFEST, snapshot=LocalSnapshotSpec(base_path=tmp_path), options=options)
    await session.start()
    await session.exec("echo 2 > a.txt; echo outside > /srv/outside")
    if keep:
        await session.aclose()
    saved = client.serialize_session_state(session.state)  # without keep the program is killed before it closes
    other = ArkerSandboxClient(arker)
    async with await other.resume(other.deserialize_session_state(saved)) as again:
        assert vm_id(again) == vm_id(session)
        assert (await again.exec("cat a.txt /srv/outside")).stdout == b"2\noutside\n"
    assert await ids(arker) == ([vm_id(session)] if keep else [])
    await other.delete(again)
    assert await ids(arker) == []


async def test_archives_that_lead_out_are_refused(arker: AsyncArker, session: SandboxSession) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(__file__, "../../srv/out.py")
    for data in (archive.getvalue(), b"no archive" * 100):
        with pytest.raises(WorkspaceArchiveWriteError) as caught:
            await session.hydrate_workspace(io.BytesIO(data))
        assert caught.value.context["reason"] == "unsafe_or_invalid_tar"
    assert not (await session.exec("test -e /srv/out.py")).ok()


async def test_a_workspace_goes_from_one_vm_to_another(client: ArkerSandboxClient, session: SandboxSession) -> None:
    await session.exec("head -c 20000000 /dev/urandom > large; sha256sum large > sum")
    with await session.persist_workspace() as archive:
        async with await client.create() as other:
            await other.hydrate_workspace(archive)
            assert (await other.exec("sha256sum -c sum")).ok()
            assert not (await other.exec("test -e passing.txt")).ok()
            assert (await other.exec("ls /tmp/arker-workspace* 2>/dev/null")).stdout == b""


async def test_ports(client: ArkerSandboxClient) -> None:
    options = ArkerSandboxClientOptions(exposed_ports=(8000,))
    async with await client.create(options=options) as session:
        with pytest.raises(ExposedPortUnavailableError, match="not configured"):
            await session.resolve_exposed_port(8001)
        await session.exec("echo served > page; setsid python3 -m http.server 8000 >/dev/null 2>&1 &")
        url = (await session.resolve_exposed_port(8000)).url_for("http") + "page"
        assert await asyncio.to_thread(fetch, url) == b"served\n"


def fetch(url: str) -> bytes:
    """Fetch a page, as soon as it is served."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as reply:
                content: bytes = reply.read()
                return content
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


async def test_mistakes_are_named(arker: AsyncArker, client: ArkerSandboxClient, session: SandboxSession) -> None:
    with pytest.raises(InvalidArgumentError, match="AsyncArker"):
        ArkerSandboxClient("key")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="state"):
        await client.resume(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="source"):
        ArkerSandboxClientOptions(source=1)  # type: ignore[arg-type]
    await arker.vm(vm_id(session)).delete()
    with pytest.raises(ExecTransportError) as caught:
        await session.exec("true")
    assert caught.value.retryable is False


# --- agents ----------------------------------------------------------------------------------------------------------


READING = ("exec_command", {"cmd": "cat a.txt; echo made > made.txt"})


async def test_an_agent_works_in_it(arker: AsyncArker, client: ArkerSandboxClient) -> None:
    agent = SandboxAgent(name="reader", model=ScriptedModel(READING), default_manifest=MANIFEST)
    result = await Runner.run(agent, "What is in a.txt?", run_config=RunConfig(sandbox=SandboxRunConfig(client=client)))
    assert "a\n" in str(result.final_output)
    assert await ids(arker) == []


async def test_an_agent_goes_on_in_a_session(client: ArkerSandboxClient, session: SandboxSession) -> None:
    agent = SandboxAgent(name="reader", model=ScriptedModel(READING))
    config = RunConfig(sandbox=SandboxRunConfig(client=client, session=session))
    await Runner.run(agent, "What is in a.txt?", run_config=config)
    assert (await session.read(Path("made.txt"))).read() == b"made\n"


def test_the_environment_chooses_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        client = ArkerSandboxClient()
        session = await client.create()
        await session.start()
        assert (await session.exec("echo hello")).stdout == b"hello\n"
        await session.aclose()

    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        asyncio.run(main())
        assert [entry.operation for entry in emulator.journal.requests()].count("fork") == 1
        assert count_vms() == 0


def test_the_page_s_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        set_environment(monkeypatch, emulator, tmp_path)
        assert run_page("openai-agents", tmp_path)
        assert count_vms() == 0
