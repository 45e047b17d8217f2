"""A backend that keeps its VMs: what the next one has, also by the command line and on full disks."""

from __future__ import annotations

import json
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from arker.emulator.options import Isolation
from tests.emulator.sandbox.support import until
from tests.emulator.server.kept import (
    DATABASE,
    ROOT,
    options,
    running,
    start_of_the_next,
    started,
    started_on_a_small_disk,
)
from tests.emulator.server.support import ISOLATION, OTHER_KEY, OTHER_ORG, Api, chunk, new_ulid, output
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio


async def post(api: Api, path: str, body: Any, key: str | None = None) -> Any:
    reply = await api.call("POST", path, body, idempotency_key=key)
    assert reply.status in {200, 202}, reply
    return reply.json


@pytest.mark.parametrize("isolation", [ISOLATION, "none"])
async def test_everything_is_there_for_the_next_one(state: Path, isolation: Isolation) -> None:
    organisations = {OTHER_ORG: OTHER_KEY}
    async with running(state, kill=True, isolation=isolation, organisations=organisations) as api:
        made = await api.fork(name="alpha", description="the first", resources={"vcpu": 3, "memory_mib": 512})
        vm = made["vm_id"]
        filesystem = await post(api, "/v1/filesystems", {"name": "shared"})
        await post(api, f"/v1/vms/{vm}/mounts", {"filesystem_id": filesystem["filesystem_id"], "path": "/mnt/f"})
        await api.write(vm, chunk("bytes", bytes(range(256))))
        first = await api.run(vm, "mkdir -p d && cd d && export CHANGED=$'a\\xffb' && echo out && echo err >&2; exit 3")
        large = await api.run(vm, "seq 300000")
        session = await post(api, f"/v1/vms/{vm}/sessions", {"cwd": "d", "env": {"OWN": "value"}})
        # Enough files that forks share them.
        await api.run(vm, "cd; mkdir many; for i in $(seq 300); do echo $i > many/$i; done; cd d")
        child = (await api.fork(source_vm_id=vm, name="beta"))["vm_id"]
        grandchild = (await api.fork(source_vm_id=child))["vm_id"]
        await api.run(child, "echo changed > ~/many/7")
        await api.delete(child)
        partial = chunk("pieces", b"a" * 70_000, size=140_000)
        assert not (await api.write(vm, partial))[0]["complete"]
        going = await api.background(vm, "echo begun; sleep 600", session_id=session["session_id"])
        await api.printed(vm, going, "begun")
        queued = await api.background(vm, "true", session_id=session["session_id"])
        other = Api(api.session, api.url, OTHER_KEY)
        theirs = (await other.fork(name="alpha"))["vm_id"]
        before = await api.get(f"/v1/vms/{vm}")
        cursor = (await api.get("/v1/vms?limit=1&source_org_id=org_local"))["next_cursor"]

    async with running(state, isolation=isolation, organisations=organisations) as api:
        after = await api.get("/v1/vms/alpha")
        assert after.pop("last_active_at") >= before.pop("last_active_at")
        assert (before.pop("state"), after.pop("state")) == ("running", "idle")
        for each in (before, after):
            facts = ("session_id", "session_idx", "cwd")
            each["sessions"] = [tuple(session[fact] for fact in facts) for session in each["sessions"]]
        assert after == before
        assert (await api.get(f"/v1/vms?limit=1&source_org_id=org_local&cursor={cursor}"))["vms"][0]["vm_id"] == vm

        run = await api.get_run(vm, first["run_id"])
        assert (run["state"], run["exit_code"]) == ("completed", 3)
        assert (output(run), output(run, "stderr")) == (b"out\n", b"err\n")
        numbers = "".join(f"{number}\n" for number in range(1, 300_001)).encode()
        assert output(await api.get_run(vm, large["run_id"])) == numbers
        assert output(await api.run(vm, 'printf %s "$CHANGED"; basename "$PWD"')) == b"a\xffbd\n"
        assert output(await api.run(vm, "echo $OWN", session_id=session["session_id"])) == b"value\n"
        assert output(await api.read(vm, "bytes"), "content") == bytes(range(256))
        for run_id, begun in ((going, "while the command was running"), (queued, "before the command was started")):
            run = await api.get_run(vm, run_id)
            assert (run["state"], run["exit_code"], run["retry_count"]) == ("failed", None, 0)
            assert run["fail_reason"] == f"the embedded backend ended {begun}"
            assert run["completed_at"] >= run["started_at"]

        rest = {**partial, "start": 70_000, "end": 140_000}
        assert (await api.write(vm, rest))[0]["written"]
        assert output(await api.read(vm, "pieces"), "content") == b"a" * 140_000
        mounts = (await api.get(f"/v1/vms/{vm}/mounts"))["mounts"]
        assert [(each["path"], each["filesystem_id"]) for each in mounts] == [("/mnt/f", filesystem["filesystem_id"])]

        missing = await api.call("GET", f"/v1/vms/{child}")
        assert missing.refusal == (404, "not_found")
        assert output(await api.run(grandchild, "cat ~/many/7; ls ~/many | wc -l")) == b"7\n300\n"
        assert (await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "name": "alpha"})).status == 409
        other = Api(api.session, api.url, OTHER_KEY)
        assert (await other.get("/v1/vms/alpha"))["vm_id"] == theirs
        again = await api.fork(name="beta")
        assert again["sessions"][0]["session_id"] != after["sessions"][0][0]


async def test_what_is_repeated_under_its_key_is_answered_as_before(state: Path) -> None:
    fork, run, other = {"source_vm_name": "ubuntu", "name": "once"}, {"command": "echo $RANDOM"}, "signal"
    async with running(state, isolation="none", kill=True) as api:
        vm = (await post(api, "/v1/fork", fork, "key-of-fork"))["vm_id"]
        printed = await post(api, f"/v1/vms/{vm}/runs", run, "key-of-run")
        gone = (await post(api, "/v1/fork", {"source_vm_name": "ubuntu"}, "key-of-gone"))["vm_id"]
        await api.delete(gone)
        await post(api, f"/v1/vms/{vm}/runs", {"release": "memory"}, other)
    for _ in range(2):
        async with running(state, isolation="none") as api:
            assert (await post(api, "/v1/fork", fork, "key-of-fork"))["vm_id"] == vm
            assert await post(api, f"/v1/vms/{vm}/runs", run, "key-of-run") == printed
            assert len(await api.list_all(f"/v1/vms/{vm}/runs", "runs")) == 1
            reply = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu"}, idempotency_key="key-of-gone")
            assert reply.refusal == (404, "not_found")
            reply = await api.call("POST", "/v1/fork", {"source_vm_name": "debian"}, idempotency_key="key-of-fork")
            assert reply.refusal == (409, "conflict")
            assert "release" not in await post(api, f"/v1/vms/{vm}/runs", {"release": "memory"}, other)


async def test_a_fork_and_its_command_are_recorded_together(state: Path) -> None:
    """Else a fork that fails between the two would be repeated under its key without its command."""
    body = {"source_vm_name": "ubuntu", "command": "echo begun"}
    async with running(state, isolation="none") as api:
        with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
            connection.execute(
                "CREATE TRIGGER no_runs BEFORE INSERT ON records WHEN NEW.kind = 'run' "
                "BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
            assert (await api.call("POST", "/v1/fork", body, idempotency_key="key")).status == 500
            assert (await api.get("/v1/vms"))["vms"] == []
            vm = await api.fork()
            wider: dict[str, Any] = {"command": "true", "vcpu_count": 7, "network": {"inbound": {"ports": {"80": {}}}}}
            assert (await api.call("POST", f"/v1/vms/{vm['vm_id']}/runs", wider)).status == 500
            after = await api.get(f"/v1/vms/{vm['vm_id']}")
            assert (after["vcpu_count"], after["tunnels"]) == (vm["vcpu_count"], []), "a refused run changes nothing"
            connection.execute("DROP TRIGGER no_runs")
        made = (await post(api, "/v1/fork", body, "key"))["vm_id"]
        (run,) = (await api.get(f"/v1/vms/{made}/runs"))["runs"]
        assert output(await api.ended(made, run["run_id"])) == b"begun\n"


async def test_a_vm_leaves_no_record_once_its_key_has_lapsed(state: Path) -> None:
    async with running(state, isolation="none", kill=True) as api:
        vm = (await post(api, "/v1/fork", {"source_vm_name": "ubuntu"}, "key"))["vm_id"]
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
        connection.execute("UPDATE records SET doc = json_set(doc, '$.since_ms', 0) WHERE kind = 'key'")
    async with running(state, isolation="none") as api:
        await api.delete(vm)
    with closing(sqlite3.connect(state / DATABASE)) as connection:
        assert connection.execute("SELECT kind, id FROM records").fetchall() == []


async def test_a_durable_vm_runs_again_what_was_running(state: Path) -> None:
    async with running(state, kill=True) as api:
        vm = (await api.fork(durable=True))["vm_id"]
        command = "echo $((1 + $(cat n || echo 0))) > .n && mv .n n; cat n; [ $(cat n) -ge 3 ] || sleep 600"
        going = await api.background(vm, command)
        await api.printed(vm, going, "1\n")
        queued = await api.background(vm, "echo queued; cat n")
        child = (await api.fork(source_vm_id=vm))["vm_id"]
        theirs = await api.background(child, "sleep 600")
    async with running(state) as api:
        run = await api.printed(vm, going, "2\n")
        assert (run["state"], run["retry_count"]) == ("running", 1)
        assert (await api.get_run(vm, queued))["state"] == "pending"
        assert (await api.get_run(child, theirs))["state"] == "failed", "a fork is not durable unless asked"
    async with running(state) as api:
        run = await api.ended(vm, going)
        assert (run["state"], run["exit_code"], run["retry_count"], output(run)) == ("completed", 0, 2, b"3\n")
        run = await api.ended(vm, queued)
        assert (run["state"], run["retry_count"], output(run)) == ("completed", 0, b"queued\n3\n")


async def test_without_a_state_directory_nothing_is_durable(api: Api) -> None:
    reply = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "durable": True})
    assert reply.refusal == (422, "unsupported_operation")
    assert "state" in reply.message


async def test_what_is_deleted_stays_deleted_and_its_space_is_free(state: Path) -> None:
    async with running(state) as api:
        vm = (await api.fork(name="large"))["vm_id"]
        await api.run(vm, "head -c 20000000 /dev/urandom > large; for i in $(seq 300); do echo > $i; done")
        await api.run(vm, "seq 100000")
        child = (await api.fork(source_vm_id=vm))["vm_id"]
        kept = (await api.fork(name="kept"))["vm_id"]
        await api.delete(vm)
        assert used(state) > 20_000_000, "the child has it still"
        await api.delete(child)
        assert used(state) < 5_000_000
        filesystem = (await post(api, "/v1/filesystems", {"name": "f"}))["filesystem_id"]
        assert (await api.call("DELETE", f"/v1/filesystems/{filesystem}")).json == {"deleted": True}
        session = (await post(api, f"/v1/vms/{kept}/sessions", {}))["session_id"]
        assert (await api.call("DELETE", f"/v1/vms/{kept}/sessions/{session}")).json == {"deleted": True}
    assert list((state / "spool").iterdir()) == []
    async with running(state) as api:
        (only,) = await api.list_all("/v1/vms", "vms", source_org_id="org_local")
        assert only["vm_id"] == kept
        assert len(only["sessions"]) == 1
        assert (await api.get("/v1/filesystems"))["filesystems"] == []


def used(directory: Path) -> int:
    """Return the bytes of all files in a directory."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


async def test_what_an_interrupted_write_has_left_in_a_vm_is_removed(state: Path) -> None:
    """Where a file system has no files without a name, a file that is being written has a temporary one."""
    left, own = f".upload-{'0a' * 12}", ".upload-of-mine"
    async with running(state, kill=True) as api:
        vm = (await api.fork())["vm_id"]
        await api.run(vm, f"mkdir d; echo part > d/{left}; echo part > d/{own}; echo part > {left}")
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
        for number, path in enumerate(("d/file", "/nowhere/file")):
            doc = json.dumps({"vm_id": vm, "path": path})
            connection.execute("INSERT INTO records VALUES ('write', ?, ?, ?)", (f"{vm} x{number}", vm, doc))
    async with running(state) as api:
        found = output(await api.run(vm, "ls -A d; ls -A | grep upload")).decode().split()
        assert found == [own, left], "only where a file was being written"
    with closing(sqlite3.connect(state / DATABASE)) as connection:
        assert connection.execute("SELECT count(*) FROM records WHERE kind = 'write'").fetchone() == (0,)


async def test_a_write_that_is_refused_leaves_no_work_for_the_next_one(state: Path) -> None:
    """Each note of a write takes the next server a command in the VM, before it answers."""
    async with running(state) as api:
        vm = (await api.fork())["vm_id"]
        await api.run(vm, "mkdir d; mkfifo f; echo > file; mkdir closed; chmod 500 closed")
        for path in ("d", "f", "file/x", "closed/x", "/proc/x", "/usr/x", "x/" * 3000):
            (refused,) = await api.write(vm, chunk(path, b"data"))
            assert not refused["written"], path
        with closing(sqlite3.connect(state / DATABASE)) as connection:
            assert connection.execute("SELECT doc FROM records WHERE kind = 'write'").fetchall() == []


async def test_a_reset_leaves_nothing_for_the_next_one(state: Path) -> None:
    async with ForkedEmulator(options(state, "none")) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vm = (await post(api, "/v1/fork", {"source_vm_name": "ubuntu"}, "key"))["vm_id"]
        await api.background(vm, "sleep 600")
        await post(api, "/v1/filesystems", {"name": "f"})
        await emulator.areset()
    async with running(state, isolation="none") as api:
        assert await api.list_all("/v1/vms", "vms", source_org_id="org_local") == []
        assert (await api.get("/v1/filesystems"))["filesystems"] == []
        assert (await post(api, "/v1/fork", {"source_vm_name": "ubuntu"}, "key"))["vm_id"] != vm


async def test_presigned_urls_are_good_beyond_the_end(state: Path) -> None:
    async with running(state, isolation="none", kill=True) as api:
        vm = (await api.fork())["vm_id"]
        entry = {"path": "put", "size": 5, "presigned": True}
        (upload,) = await api.write(vm, entry)
        where = upload["presigned_url"].removeprefix(api.url.removesuffix("/api"))
        assert (await api.raw("PUT", upload["presigned_url"], data=b"hello")).status == 200
    async with running(state, isolation="none") as api:
        assert (await api.raw("PUT", api.url.removesuffix("/api") + where, data=b"later")).status == 200
        commit = {"path": "put", "size": 5, "upload_id": upload["upload_id"]}
        assert (await api.write(vm, commit))[0]["written"]
        assert output(await api.read(vm, "put"), "content") == b"later"
        assert (await api.write(vm, commit))[0]["written"]


async def test_uploads_of_two_servers_have_files_of_their_own(state: Path) -> None:
    def half(path: str, content: bytes, upload_id: str, **fields: Any) -> dict[str, Any]:
        return chunk(path, content, upload_id=upload_id, size=6, **fields)

    one, other = new_ulid(), new_ulid()
    async with running(state, isolation="none", kill=True) as api:
        vm = (await api.fork())["vm_id"]
        await api.write(vm, half("one", b"one", one))
    async with running(state, isolation="none") as api:
        await api.write(vm, half("other", b"OTH", other))
        await api.write(vm, half("one", b"+++", one, start=3))
        await api.write(vm, half("other", b"ER.", other, start=3))
        assert [output(await api.read(vm, name), "content") for name in ("one", "other")] == [b"one+++", b"OTHER."]


# --- the command line, full disks, other users ---


async def test_a_full_disk_refuses_changes_and_loses_none(state: Path) -> None:
    """The directory is on a file system of its own as well, with the sandboxes' on another."""
    with started_on_a_small_disk(state) as (_, said):
        async with aiohttp.ClientSession() as session:
            api = Api(session, said["url"], said["api_key"])
            vm = (await api.fork(description="before"))["vm_id"]
            spare = (await api.fork())["vm_id"]
            await api.run(spare, "head -c 1000000 /dev/urandom > large")
            await api.run(vm, "cat /dev/zero > full 2>&-; true")
            last, refused = "before", False
            for number in range(300):
                reply = await api.call("PATCH", f"/v1/vms/{vm}", {"description": f"{number}" + "x" * 1000})
                if reply.status != 200:
                    assert reply.refusal == (503, "capacity_unavailable"), reply
                    refused = True
                    break
                last = f"{number}" + "x" * 1000
            assert refused
            assert (await api.get(f"/v1/vms/{vm}"))["description"] == last
            await api.delete(spare)
            run = await api.run(vm, "rm full; echo again")
            assert output(run) == b"again\n"
            reply = await api.call("PATCH", f"/v1/vms/{vm}", {"description": "after"})
            assert reply.status == 200


WRITE = """\
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
doc = json.dumps({"vm_id": sys.argv[2], "path": "file"})
connection.execute("INSERT INTO records VALUES ('write', 'x', ?, ?)", (sys.argv[2], doc))
"""
"""Notes that a file is being written to a VM, as it is when a server is killed amid that."""


async def test_on_a_full_disk_the_next_one_starts_and_can_delete(state: Path) -> None:
    with started_on_a_small_disk(state, between=":") as (process, said):
        async with aiohttp.ClientSession() as session:
            api = Api(session, said["url"], said["api_key"])
            vm = (await api.fork(name="kept"))["vm_id"]
            large = (await api.fork())["vm_id"]
            note = f"{sys.executable} -c {shlex.quote(WRITE)} {state / DATABASE} {vm}"  # only VMs see this file system
            assert (await api.run(vm, note))["exit_code"] == 0
            going = await api.background(vm, "echo content > file; echo begun; sleep 600")
            await api.printed(vm, going, "begun")
            for _ in range(8):  # what becomes of them takes room
                await api.background(vm, "true " + "x" * 8000)
            run = await api.background(large, "cat /dev/zero > full 2>&-; echo full; sleep 600")
            await api.printed(large, run, "full")
        said = start_of_the_next(process, signal.SIGKILL)
        async with aiohttp.ClientSession() as session:
            api = Api(session, said["url"], said["api_key"])
            assert (await api.get_run(vm, going))["state"] == "failed"
            await api.delete(large)
            assert output(await api.run("kept", "cat file")) == b"content\n"


async def test_the_command_line_says_where_vms_are_and_goes_on_with_them(state: Path) -> None:
    arguments = ["-m", "arker.emulator", "--isolation", ISOLATION, "--state", str(state)]
    for number, end in enumerate((signal.SIGKILL, signal.SIGTERM)):
        with started([sys.executable, *arguments, "--state-parent", str(state.parent)]) as (process, said):
            async with aiohttp.ClientSession() as session:
                api = Api(session, said["url"], said["api_key"])
                if number == 0:
                    await api.run((await api.fork(name="kept"))["vm_id"], "echo content > file")
                else:
                    assert output(await api.read("kept", "file"), "content") == b"content\n"
            process.send_signal(end)
            assert process.stdout is not None
            assert f"leaves its VMs in {state}" in process.stdout.read().decode()
    await until(lambda: list(state.parent.iterdir()) == [state])


def test_the_command_line_refuses_a_directory_by_one_line(state: Path) -> None:
    state.mkdir()
    (state / "other").touch()
    command = [sys.executable, "-m", "arker.emulator", "--state", str(state), "--state-parent", str(state.parent)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.decode().startswith(f"error: the state directory {state} cannot be used: it is no state")
    assert done.stderr.count(b"\n") == 1
