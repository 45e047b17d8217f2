"""Directories into VMs of the embedded backend and back: what is sent, kept, deleted and reported."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from arker import (
    AsyncVM,
    ConfigurationError,
    DirectoryConflictError,
    InvalidArgumentError,
    LocalFileError,
    RemoteFileNotFoundError,
    RemoteNotADirectoryError,
    TransferProgress,
)
from arker.emulator import Emulator
from tests.directories.support import SMALL, Directory, File, Model, build, changes, look, shell, tree
from tests.support.length import times

pytestmark = pytest.mark.anyio


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return build(tmp_path / "local", SMALL)


def asked_of(emulator: Emulator, vm: AsyncVM) -> list[str | None]:
    return [entry.operation for entry in emulator.journal.requests() if entry.vm_id == vm.id]


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_only_what_differs_is_moved(vm: AsyncVM, local: Path, tmp_path: Path, emulator: Emulator) -> None:
    first = await vm.upload_dir(local, "r")
    assert changes(first) == ["create a", "mkdir d", "create d/b", "mkdir d/empty", "symlink d/link"]
    assert (first.size, first.counts["create"], first.digest, first.failures) == (3, 2, None, ())
    times = await shell(vm, "stat -c %i,%z r/a r/d/b r/d/link")

    again = await vm.upload_dir(local, "r")
    digest = "sha256sum" if emulator.options.generation == "0.5" else "manifest"
    assert (changes(again), again.size, again.digest) == ([], 0, digest)
    (local / "d" / "b").write_bytes(b"23")
    (local / "a").touch()
    assert changes(await vm.upload_dir(local, "r")) == ["update d/b"]
    now = await shell(vm, "stat -c %i,%z r/a r/d/b r/d/link")
    same = [before == after for before, after in zip(times.splitlines(), now.splitlines(), strict=True)]
    assert same == [True, False, True]

    back = tmp_path / "back"
    assert len(changes(await vm.download_dir("r", back))) == 5
    assert look(back) == look(local)
    inode = (back / "a").stat().st_ino
    assert changes(await vm.download_dir("r", back)) == []
    await shell(vm, "chmod 700 r/a; printf 99 > r/d/b")
    assert changes(await vm.download_dir("r", back)) == ["chmod a", "update d/b"]
    assert (stat.S_IMODE((back / "a").stat().st_mode), (back / "a").stat().st_ino) == (0o700, inode)
    assert (back / "d" / "b").read_bytes() == b"99"


async def test_nothing_is_asked_for_when_nothing_differs(vm: AsyncVM, local: Path, emulator: Emulator) -> None:
    await vm.upload_dir(local, "r")
    before = len(asked_of(emulator, vm))
    await vm.upload_dir(local, "r")
    manifest = [] if emulator.options.generation == "0.5" else ["sync"]
    assert asked_of(emulator, vm)[before:] == ["create_session", "run", "delete_session", *manifest]


async def test_names_that_look_the_same_in_json_are_not_confused(vm: AsyncVM, tmp_path: Path) -> None:
    for number in range(8):  # whichever of two is listed first
        (tmp_path / f"{number}\ufffd").write_text("new")
    await shell(
        vm, "mkdir ~/r; cd ~/r; for n in 0 1 2 3 4 5 6 7; do printf old > $n$'\\ufffd'; printf new > $n$'\\xff'; done"
    )
    report = await vm.upload_dir(tmp_path, "r")
    assert report.counts["update"] == 8
    assert await shell(vm, "cat *") == "new" * 16


async def test_a_dry_run_changes_nothing(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    plan = await vm.upload_dir(local, "r", dry_run=True)
    assert plan.dry_run
    assert str(plan).splitlines() == [
        f"dry run of upload {local} -> VM:r",
        "  create    a  1 bytes",
        "  mkdir     d/",
        "  create    d/b  2 bytes",
        "  mkdir     d/empty/",
        "  symlink   d/link",
        "2 created, 2 directories made, 1 symlinks made; 3 bytes",
    ]
    assert await shell(vm, "ls -A") == ""
    await vm.upload_dir(local, "r")
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "old").touch()
    plan = await vm.download_dir("r", tmp_path / "back", dry_run=True, delete=True)
    assert changes(plan) == ["create a", "mkdir d", "create d/b", "mkdir d/empty", "symlink d/link", "delete old"]
    assert set(look(tmp_path / "back")) == {"old"}
    assert [entry.path for entry in plan.entries if entry.kind == "directory"] == ["d", "d/empty"]


async def test_many_small_files(vm: AsyncVM, tmp_path: Path) -> None:
    number_of_files = times(2000, suite=600)
    model: Model = {f"d{number % 20}/f{number}": File(b"%d" % number) for number in range(number_of_files)}
    build(tmp_path / "local", model)
    done = await vm.upload_dir(tmp_path / "local", "r")
    assert (done.counts, done.failures) == ({"create": number_of_files, "mkdir": 20}, ())
    assert int(await shell(vm, "find r -type f | wc -l")) == number_of_files
    assert changes(await vm.upload_dir(tmp_path / "local", "r", delete=True)) == []
    assert changes(await vm.download_dir("r", tmp_path / "local", delete=True)) == []
    back = await vm.download_dir("r/d7", tmp_path / "back")
    assert (back.counts, back.failures) == ({"create": number_of_files // 20}, ())
    assert look(tmp_path / "back") == look(tmp_path / "local" / "d7")


async def test_progress_is_that_of_the_whole(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    told: list[TransferProgress] = []
    await vm.upload_dir(local, "r", progress=told.append)
    assert {(one.operation, one.path, one.vm_id) for one in told} == {("vm.upload_dir", "r", vm.id)}
    assert (told[-1].done, told[-1].total, told[-1].files_done, told[-1].files_total) == (3, 3, 2, 2)
    told.clear()
    await vm.upload_dir(local, "r", progress=told.append)
    assert [(one.done, one.total, one.files_total, one.fraction) for one in told] == [(0, 0, 0, 1.0)]
    told.clear()
    await vm.download_dir("r", tmp_path / "back", progress=told.append)
    assert (told[-1].operation, told[-1].done, told[-1].fraction) == ("vm.download_dir", 3, 1.0)


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", ["-r", "a b/it's\nhere", "/tmp/ä/", "./x//y/", "/home/user"])
async def test_places_in_the_vm(vm: AsyncVM, local: Path, tmp_path: Path, remote: str) -> None:
    assert (await vm.upload_dir(str(local), remote)).failures == ()
    assert changes(await vm.upload_dir(local, remote, delete=True)) == []
    assert (await vm.download_dir(remote, tmp_path / "back")).failures == ()
    assert look(tmp_path / "back") == look(local)


async def test_an_empty_directory_is_made(vm: AsyncVM, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (await vm.upload_dir(tmp_path / "empty", "deep/in/here")).entries == ()
    assert await shell(vm, "ls -A deep/in/here; echo there") == "there\n"
    await vm.download_dir("deep/in/here", tmp_path / "also/deep")
    assert look(tmp_path / "also") == {"deep": Directory()}


async def test_a_root_that_is_a_symlink_is_followed(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    await shell(vm, "mkdir real; ln -s real link")
    await vm.upload_dir(local, "link")
    assert "./d/b" in await tree(vm, "real")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    await vm.download_dir("link", tmp_path / "link")
    assert look(tmp_path / "real") == look(local)


async def test_what_is_not_there(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    await shell(vm, "echo > file")
    with pytest.raises(FileNotFoundError) as missing:
        await vm.download_dir("nothing", tmp_path / "back")
    assert isinstance(missing.value, RemoteFileNotFoundError)
    assert (missing.value.operation, missing.value.vm_id) == ("vm.download_dir", vm.id)
    assert (missing.value.errno, missing.value.filename) == (errno.ENOENT, "nothing")
    assert not (tmp_path / "back").exists()
    with pytest.raises(RemoteNotADirectoryError):
        await vm.upload_dir(local, "file")
    with pytest.raises(RemoteNotADirectoryError):
        await vm.download_dir("file", tmp_path / "back")
    for wrong in (tmp_path / "nothing", local / "a"):
        with pytest.raises(LocalFileError) as caught:
            await vm.upload_dir(wrong, "r")
        assert caught.value.filename == str(wrong)
    with pytest.raises(LocalFileError):
        await vm.download_dir("/home/user", local / "a")
    with pytest.raises(LocalFileError):
        await vm.download_dir("/home/user", local / "a" / "below")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"remote": ""}, "remote"),
        ({"remote": "a\0b"}, "remote"),
        ({"remote": "\udcff"}, "remote"),
        ({"remote": 5}, "remote"),
        ({"local": ""}, "local"),
        ({"local": b"x"}, "local"),
        ({"local": None}, "local"),
        ({"ignore": "*.pyc"}, "ignore"),
        ({"delete": 1}, "delete"),
        ({"dry_run": "no"}, "dry_run"),
        ({"concurrency": 0}, "concurrency"),
        ({"progress": 5}, "progress"),
        ({"deadline": 0}, "deadline"),
        ({"remote": "/", "delete": True}, "remote"),
        ({"remote": "/tmp/..", "delete": True}, "remote"),
        ({"local": "/", "delete": True}, "local"),
    ],
)
async def test_arguments_are_checked(vm: AsyncVM, local: Path, arguments: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"local": local, "remote": "r", **arguments}
    for call in (vm.upload_dir, vm.download_dir):
        with pytest.raises(InvalidArgumentError) as caught:
            await call(**given)
        assert caught.value.argument == named


# --- what is in the way, and what is deleted -------------------------------------------------------------------------


async def test_deletion_is_asked_for(vm: AsyncVM, local: Path) -> None:
    await shell(
        vm, "mkdir -p r/old/deep outside; touch r/old/deep/x r/y outside/x; ln -s ../outside r/old/link; mkfifo r/p"
    )
    assert not [change for change in changes(await vm.upload_dir(local, "r")) if change.startswith("delete")]
    assert {"./old/deep/x", "./y", "./p"} < await tree(vm, "r")
    done = await vm.upload_dir(local, "r", delete=True)
    assert changes(done) == [
        *("delete old", "delete old/deep", "delete old/deep/x", "delete old/link", "delete p", "delete y"),
    ]
    assert await tree(vm, "r") == {"./a", "./d", "./d/b", "./d/empty", "./d/link"}
    assert await shell(vm, "ls outside") == "x\n"


async def test_a_conflict_changes_nothing(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    await shell(vm, "mkdir -p r/a; touch r/a/full")
    with pytest.raises(DirectoryConflictError) as caught:
        await vm.upload_dir(local, "r")
    assert [entry.path for entry in caught.value.plan.conflicts] == ["a"]
    assert caught.value.outcome == "not_started"
    assert "a: a directory that is not empty is in its place (delete=True removes it)" in str(caught.value)
    assert await tree(vm, "r") == {"./a", "./a/full"}
    plan = await vm.upload_dir(local, "r", dry_run=True)
    assert "  conflict  a  (a directory that is not empty" in str(plan)
    assert (await vm.upload_dir(local, "r", delete=True)).failures == ()
    assert await tree(vm, "r") == {"./a", "./d", "./d/b", "./d/empty", "./d/link"}

    back = build(tmp_path / "back", {"d": File(b"x"), "a/full": File()})
    before = look(back)
    with pytest.raises(DirectoryConflictError):
        await vm.download_dir("r", back)
    assert look(back) == before
    await vm.download_dir("r", back, delete=True)
    assert look(back) == look(local)


async def test_what_is_special_is_skipped(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    os.mkfifo(local / "pipe")
    done = await vm.upload_dir(local, "r")
    assert [(entry.path, entry.reason) for entry in done.skipped] == [("pipe", "it is a FIFO, a socket or a device")]
    await shell(vm, "mkfifo r/other")
    back = await vm.download_dir("r", tmp_path / "back")
    assert [entry.path for entry in back.skipped] == ["other"]
    assert "other" not in look(tmp_path / "back")


# --- patterns --------------------------------------------------------------------------------------------------------


async def test_what_patterns_match_is_neither_sent_nor_deleted(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    build(local, {".git/HEAD": File(b"x"), "d/x.pyc": File(b"x"), "d/keep.pyc": File(b"k")})
    await shell(vm, "mkdir -p r/.git r/gone/.git; touch r/.git/theirs r/gone/.git/theirs r/gone/x r/y.pyc")
    ignore = [".git/", "*.pyc", "!keep.pyc"]
    done = await vm.upload_dir(local, "r", ignore=ignore, delete=True)
    assert done.failures == ()
    files = {"./a", "./d", "./d/b", "./d/empty", "./d/link", "./d/keep.pyc"}
    assert await tree(vm, "r") == files | {
        "./.git",
        "./.git/theirs",
        "./gone",
        "./gone/.git",
        "./gone/.git/theirs",
        "./y.pyc",
    }

    back = build(tmp_path / "back", {"mine.pyc": File(b"m"), "old": File()})
    await vm.download_dir("r", back, ignore=iter(ignore), delete=True)
    assert set(look(back)) == {"a", "d", "d/b", "d/empty", "d/link", "d/keep.pyc", "gone", "mine.pyc"}


async def test_patterns_of_a_file(vm: AsyncVM, local: Path) -> None:
    build(local, {".gitignore": File(b"# what git ignores\n/a\n*.log\n"), "x.log": File(), "y.log": File()})
    await vm.upload_dir(local, "r", ignore_file=".gitignore", ignore=["!y.log"])
    assert await tree(vm, "r") == {"./.gitignore", "./d", "./d/b", "./d/empty", "./d/link", "./y.log"}
    with pytest.raises(LocalFileError) as caught:
        await vm.upload_dir(local, "r", ignore_file="nothing")
    assert (caught.value.filename, caught.value.operation) == (str(local / "nothing"), "vm.upload_dir")


async def test_patterns_of_a_file_are_read_as_git_reads_them(vm: AsyncVM, tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf.env\r\n*.log\r\na\x0cb\r\nc\xe2\x80\xa8d\n\xff"
    names = [b".env", b"x.log", b"a\x0cb", b"c\xe2\x80\xa8d", b"a", b"b", b"c", b"d", b"\xff"]
    local = build(tmp_path / "local", {os.fsdecode(name): File() for name in names})
    (tmp_path / "ignore").write_bytes(text)
    await vm.upload_dir(local, "r", ignore_file=tmp_path / "ignore")
    assert await tree(vm, "r") == {"./a", "./b", "./c", "./d"}


async def test_without_the_library_for_patterns(
    vm: AsyncVM, local: Path, monkeypatch: pytest.MonkeyPatch, emulator: Emulator
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pathspec", None)
    before = asked_of(emulator, vm)
    with pytest.raises(ConfigurationError, match=r"pip install 'arker-async\[files\]'"):
        await vm.upload_dir(local, "r", ignore=["*.pyc"])
    assert asked_of(emulator, vm) == before


# --- the caller's sessions -------------------------------------------------------------------------------------------


async def test_sessions_stay_as_they_were(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    await vm.run("mkdir elsewhere; cd elsewhere; export X=1")
    before = {session.session_id for session in (await vm.list_sessions()).sessions}
    await vm.upload_dir(local, "r")
    await vm.download_dir("r", tmp_path / "back")
    assert {session.session_id for session in (await vm.list_sessions()).sessions} == before
    assert await shell(vm, 'pwd; echo "$X"') == "/home/user/elsewhere\n1\n"
