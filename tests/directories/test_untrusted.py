"""A VM that is not to be trusted: whatever it says, nothing lands outside of the local directory."""

from __future__ import annotations

import base64
import os
import shlex
from pathlib import Path

import pytest

from arker import AsyncVM, BadReplyError, FileChangedError, LocalFileError, TransferError, TransferProgress
from tests.directories.support import Directory, File, Link, Model, build, changes, look
from tests.directories.test_manifest import DIGEST, written
from tests.support.server import Recorded, Reply, Script, ScriptedServer, ok

pytestmark = pytest.mark.anyio

MINE: Model = {"file": File(b"mine", 0o600), "d": Directory(0o700), "d/file": File(b"mine")}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return build(tmp_path / "outside", MINE)


def says(output: bytes, *, report: bytes = b"end\0", exit_code: int = 0, content: bytes = b"evil") -> Script:
    """Run a server whose VM lists arbitrary entries. Every file has the same content."""

    def answer(request: Recorded) -> Reply:
        if request.path.endswith("/sessions"):
            return ok({"session_id": "s", "session_idx": 1, "state": "idle", "cwd": "/"})
        if request.method == "DELETE":
            return ok({"deleted": True})
        if request.path.endswith("/runs"):
            lists = "arker-tree" in request.json["command"]
            return ok(
                {
                    "stdout": base64.b64encode(output if lists else report).decode(),
                    "stdout_encoding": "base64",
                    "stderr": "sh: what?" if exit_code else "",
                    "stderr_encoding": "utf-8",
                    "exit_code": exit_code,
                }
            )
        if request.json["op"] == "write":
            done: dict[str, object] = {"complete": True, "written": True, "ranges": ()}
            writes = request.json["writes"]
            return ok(
                {
                    "results": [
                        {"path": w["path"], "size": w["size"], "received_bytes": w["size"], **done} for w in writes
                    ]
                }
            )
        text = base64.b64encode(content).decode()
        return ok({"path": request.json["path"], "size": len(content), "content": text, "encoding": "base64"})

    return answer


# --- names and symlinks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"./../outside/file", b"/etc/passwd", b"./d/../../outside/file", b"./..", b"./d/."])
async def test_names_that_lead_out(
    server: ScriptedServer, vm: AsyncVM, tmp_path: Path, outside: Path, path: bytes
) -> None:
    server.answer(says(written(b"41ed 1 ./d//\n81a4 4 " + path + b"//\n")))
    with pytest.raises(BadReplyError) as caught:
        await vm.download_dir("r", tmp_path / "back")
    assert (caught.value.operation, caught.value.outcome) == ("vm.download_dir", "not_started")
    assert set(os.listdir(tmp_path)) == {"outside"}
    assert look(outside) == MINE


async def test_a_file_below_a_symlink(server: ScriptedServer, vm: AsyncVM, tmp_path: Path, outside: Path) -> None:
    target = os.fsencode(outside)
    listed = written(b"a1ff 9 ./l//\n81a4 4 ./l/file//\n", links=b"./l\0" + target + b"\0")
    server.answer(says(listed))
    with pytest.raises(BadReplyError):
        await vm.download_dir("r", tmp_path / "back", symlinks="all")
    assert look(outside) == MINE


async def test_a_directory_where_a_symlink_was_made_before(
    server: ScriptedServer, vm: AsyncVM, tmp_path: Path, outside: Path
) -> None:
    """First a symlink that the caller lets in, then a directory of that name with files in it."""
    back = tmp_path / "back"
    server.answer(says(written(b"a1ff 9 ./d//\n", links=b"./d\0" + os.fsencode(outside) + b"\0")))
    skipped = await vm.download_dir("r", back)
    assert (changes(skipped), look(back)) == (["skip d"], {})
    assert (await vm.download_dir("r", back, symlinks="all")).failures == ()
    assert look(back) == {"d": Link(str(outside))}
    server.answer(says(written(b"41ed 1 ./d//\n81a4 4 ./d/file//\n41ed 1 ./d/d//\n")))
    done = await vm.download_dir("r", back, delete=True)
    assert changes(done) == ["mkdir d", "mkdir d/d", "create d/file"]
    assert look(back) == {"d": Directory(), "d/d": Directory(), "d/file": File(b"evil")}
    assert look(outside) == MINE


@pytest.mark.parametrize("target", [b"..", b"../outside", b"d/..", b"/", b"d/../../outside", b"./../outside"])
async def test_symlinks_that_lead_out_are_skipped(
    server: ScriptedServer, vm: AsyncVM, tmp_path: Path, target: bytes
) -> None:
    server.answer(says(written(b"41ed 1 ./d//\na1ff 9 ./l//\n", links=b"./l\0" + target + b"\0")))
    done = await vm.download_dir("r", tmp_path / "back")
    assert look(tmp_path / "back") == {"d": Directory()}
    assert [(entry.path, entry.action, entry.kind) for entry in done.skipped] == [("l", "skip", "symlink")]
    assert done.skipped[0].reason == f"it leads out of the directory, to {target.decode()!r}"


async def test_no_bit_is_taken_that_gives_rights(server: ScriptedServer, vm: AsyncVM, tmp_path: Path) -> None:
    server.answer(says(written(b"8fff 4 ./suid//\n43ff 1 ./sticky//\n")))
    await vm.download_dir("r", tmp_path / "back")
    assert look(tmp_path / "back") == {"suid": File(b"evil", 0o777), "sticky": Directory(0o777)}


async def test_what_is_special_there_is_not_fetched(server: ScriptedServer, vm: AsyncVM, tmp_path: Path) -> None:
    server.answer(says(written(b"21b6 0 ./zero//\n11b6 0 ./pipe//\nc1ff 0 ./socket//\n")))
    done = await vm.download_dir("r", tmp_path / "back")
    assert changes(done) == ["skip pipe", "skip socket", "skip zero"]
    assert look(tmp_path / "back") == {}


async def test_what_a_vm_says_is_not_quoted(server: ScriptedServer, vm: AsyncVM, tmp_path: Path) -> None:
    server.answer(says(b"arker-tree 1\0a secret\0"))
    with pytest.raises(BadReplyError) as caught:
        await vm.download_dir("r", tmp_path / "back")
    assert "there is no such state" in str(caught.value)
    assert "secret" not in f"{caught.value}{caught.value!r}{caught.value.args}"


# --- trees that change -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["symlink", "file"])
async def test_a_local_directory_is_exchanged_during_the_download(
    server: ScriptedServer, vm: AsyncVM, tmp_path: Path, outside: Path, by: str
) -> None:
    back = build(tmp_path / "back", {"d": Directory(), "d/old": File(b"x")})
    listed = b"41ed 1 ./d//\n81ff 4 ./d/file//\n41ed 1 ./d/new//\na1ff 1 ./d/link//\n81a4 4 ./other//\n"
    server.answer(says(written(listed, links=b"./d/link\0file\0")))

    def exchange(_: TransferProgress) -> None:
        if not (tmp_path / "away").exists():
            (back / "d").rename(tmp_path / "away")
            (back / "d").symlink_to(outside) if by == "symlink" else (back / "d").touch()

    done = await vm.download_dir("r", back, delete=True, progress=exchange)
    assert {failure.local for failure in done.failures} == {
        str(back / "d" / name) for name in ("file", "new", "link", "old")
    }
    assert all(isinstance(failure.error, LocalFileError) for failure in done.failures)
    assert look(outside) == MINE
    assert (back / "other").read_bytes() == b"evil"
    assert set(os.listdir(back)) == {"d", "other"}
    assert look(tmp_path / "away") == {"old": File(b"x")}


async def test_a_file_of_another_size_than_was_listed(server: ScriptedServer, vm: AsyncVM, tmp_path: Path) -> None:
    back = build(tmp_path / "back", {"a": File(b"mine!")})
    server.answer(says(written(b"81a4 5 ./a//\n81a4 4 ./b//\n", lines=DIGEST + b"  ./a\n")))
    done = await vm.download_dir("r", back)
    assert [failure.path for failure in done.failures] == ["r/a"]
    assert isinstance(done.failures[0].error, FileChangedError)
    assert "had 5 bytes when the directory was listed, and 4 when it was read" in str(done)
    assert look(back) == {"a": File(b"mine!"), "b": File(b"evil")}


async def test_the_list_is_asked_for_the_files_that_may_be_the_same(
    server: ScriptedServer, vm: AsyncVM, tmp_path: Path
) -> None:
    build(tmp_path / "back", {"a": File(b"12345"), "b": File(b"1")})
    server.answer(says(written()))
    await vm.download_dir("it's", tmp_path / "back", ignore=[".git/"], dry_run=True)
    command = next(request.json["command"] for request in server.requests if request.path.endswith("/runs"))
    assert shlex.split(command)[-3:] == ["it's", ".git", "1-1 5-5"]


# --- reports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [b"", b"end", b"99\0no\0end\0", b"nonsense"])
async def test_a_report_that_is_none(server: ScriptedServer, vm: AsyncVM, tmp_path: Path, report: bytes) -> None:
    server.answer(says(b"arker-tree 1\0absent\0end\0", report=report))
    local = build(tmp_path / "local", {"a": File(b"x")})
    with pytest.raises(BadReplyError) as caught:
        await vm.upload_dir(local, "r")
    assert (caught.value.operation, caught.value.outcome) == ("vm.upload_dir", "unknown")
    # The staging directory is removed all the same.
    commands = [request.json["command"] for request in server.requests if request.path.endswith("/runs")]
    assert "rm -rf" in commands[-1]
    assert ".arker-" in commands[-1]


async def test_a_list_that_fails(server: ScriptedServer, vm: AsyncVM, tmp_path: Path) -> None:
    server.answer(says(b"", exit_code=127))
    with pytest.raises(TransferError, match=r"could not list r: exit code 127: sh: what\?"):
        await vm.upload_dir(build(tmp_path / "local", {}), "r")


async def test_what_could_not_be_put_into_place(server: ScriptedServer, vm: AsyncVM, tmp_path: Path) -> None:
    server.answer(says(b"arker-tree 1\0absent\0end\0", report=b"0\0mv: no space left\0end\0"))
    done = await vm.upload_dir(build(tmp_path / "local", {"a": File(b"x"), "b": File(b"x")}), "r")
    [failure] = done.failures
    assert failure.path == "r/a"
    assert isinstance(failure.error, TransferError)
    assert failure.error.message == "the VM could not put it into place: mv: no space left"
