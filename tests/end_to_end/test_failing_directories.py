"""Directories of which a part cannot be copied: what is said of it, and that the rest comes along."""

from __future__ import annotations

import asyncio
import errno
import pickle
import shutil
import stat
from pathlib import Path

import pytest

from arker import (
    CHUNK_SIZE,
    ArkerError,
    AsyncVM,
    FileChangedError,
    LocalFileError,
    RemoteNotADirectoryError,
    RemotePermissionError,
    TransferProgress,
)
from tests.directories.support import SMALL, File, Model, build, changes, look, shell, tree

pytestmark = pytest.mark.anyio


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return build(tmp_path / "local", SMALL)


async def test_a_file_that_cannot_be_read_is_named_as_the_caller_knows_it(vm: AsyncVM, tmp_path: Path) -> None:
    large = bytes(CHUNK_SIZE + 1)  # one after the other
    local = build(tmp_path / "local", {"a": File(large), "b": File(large)})

    def lose(_: TransferProgress) -> None:
        (local / "b").unlink(missing_ok=True)

    done = await vm.upload_dir(local, "r", concurrency=1, progress=lose)
    (failure,) = done.failures
    error = failure.error
    assert isinstance(error, LocalFileError)
    assert (error.filename, error.errno) == (str(local / "b"), errno.ENOENT)
    assert (failure.path, error.file, error.operation) == ("r/b", "r/b", "vm.upload_dir")
    assert ".arker-" not in str(done)
    assert await tree(vm, "r") == {"./a"}  # and nothing of the other


async def test_a_file_that_the_vm_refuses_is_named_as_the_caller_knows_it(vm: AsyncVM, tmp_path: Path) -> None:
    await shell(vm, "mkdir r; echo no > r/a; chmod 0 r/a")
    done = await vm.download_dir("r", tmp_path / "back")
    (failure,) = done.failures
    error = failure.error
    assert isinstance(error, RemotePermissionError)
    assert (error.file, error.filename, error.operation) == ("r/a", "r/a", "vm.download_dir")


async def test_a_file_that_cannot_be_written_is_named_as_the_caller_knows_it(vm: AsyncVM, tmp_path: Path) -> None:
    await shell(vm, "mkdir r; echo 1 > r/a; head -c 5000000 /dev/zero > r/b; echo 2 > r/c")
    back = tmp_path / "back"

    def close(progress: TransferProgress) -> None:
        for staging in back.glob(".arker-*"):
            shutil.rmtree(staging)

    done = await vm.download_dir("r", back, concurrency=1, progress=close)
    assert done.failures
    for failure in done.failures:
        error = failure.error
        assert isinstance(error, LocalFileError)
        place = str(back / failure.path.removeprefix("r/"))
        again = pickle.loads(pickle.dumps(error))
        assert (failure.local, error.filename, again.filename, error.errno) == (place, place, place, errno.ENOENT)
    assert ".arker-" not in str(done)


async def test_a_directory_that_cannot_be_there_is_named_as_the_caller_knows_it(vm: AsyncVM, local: Path) -> None:
    await shell(vm, "echo 1 > file")
    with pytest.raises(RemoteNotADirectoryError) as caught:
        await vm.upload_dir(local, "file/r")
    error = caught.value
    assert (error.file, error.filename, error.operation) == ("file/r", "file/r", "vm.upload_dir")
    assert ".arker-" not in str(error)


async def test_one_file_that_fails_loses_no_other(vm: AsyncVM, local: Path, tmp_path: Path) -> None:
    await vm.upload_dir(local, "r")
    (local / "a").write_bytes(b"longer")
    build(local, {"new": File(b"n")})

    def lose(_: TransferProgress) -> None:
        (local / "a").unlink(missing_ok=True)

    done = await vm.upload_dir(local, "r", progress=lose)
    if done.failures:  # else it had been read before it went
        assert [(failure.path, failure.local) for failure in done.failures] == [("r/a", str(local / "a"))]
        assert isinstance(done.failures[0].error, (LocalFileError, FileChangedError))
        assert "  failed    r/a: " in str(done)
        assert await vm.sync("r/a") == b"1"
    assert await vm.sync("r/new") == b"n"

    await shell(vm, "chmod 000 r/new")
    back = await vm.download_dir("r", tmp_path / "back")
    assert [failure.path for failure in back.failures] == ["r/new"]
    assert back.failures[0].local == str(tmp_path / "back" / "new")
    assert set(look(tmp_path / "back")) == {*SMALL}


@pytest.mark.parametrize("there", [False, True])
async def test_a_directory_that_was_not_there_does_not_stay_empty(
    vm: AsyncVM, local: Path, tmp_path: Path, there: bool
) -> None:
    await shell(vm, "mkdir source; head -c 5000000 /dev/zero > source/big")
    build(local, {"big": File(bytes(5_000_000))})
    back = tmp_path / "back"
    if there:
        back.mkdir()
        await shell(vm, "mkdir ./-r")

    def cancel(progress: TransferProgress) -> None:
        if progress.done:
            transfer.cancel()

    for move in (vm.upload_dir(local, "-r", progress=cancel), vm.download_dir("source", back, progress=cancel)):
        transfer = asyncio.ensure_future(move)
        with pytest.raises(asyncio.CancelledError):
            await transfer
    assert (await vm.files.exists("-r"), back.exists()) == (there, there)
    if there:
        assert (await vm.files.listdir("-r"), list(back.iterdir())) == ([], [])


async def test_nothing_is_deleted_when_a_file_could_not_be_copied(vm: AsyncVM, tmp_path: Path) -> None:
    # The file has got another name in the source, and by the former one it is all that the target has of it.
    large = bytes(CHUNK_SIZE + 1)  # one after the other
    source: Model = {"big": File(large), "new": File(large), "way": File(b"1")}
    target: Model = {"old": File(large), "gone/x": File(b"2"), "way/x": File(b"3")}
    local, back = build(tmp_path / "local", source), build(tmp_path / "back", target)
    await vm.upload_dir(back, "r")

    def lose(_: TransferProgress) -> None:
        (local / "new").unlink(missing_ok=True)

    done = await vm.upload_dir(local, "r", delete=True, concurrency=1, progress=lose)
    expected = ["create big", "skip gone", "skip gone/x", "create new", "skip old", "create way", "delete way/x"]
    assert changes(done) == expected
    assert [failure.path for failure in done.failures] == ["r/new"]
    assert {entry.reason for entry in done.skipped} == {"it is not deleted, because not all files could be copied"}
    assert await tree(vm, "r") == {"./big", "./gone", "./gone/x", "./old", "./way"}

    await shell(vm, "rm -r r/gone r/old; echo no > r/new; chmod 0 r/new")
    done = await vm.download_dir("r", back, delete=True)
    assert changes(done) == expected
    assert [failure.path for failure in done.failures] == ["r/new"]
    assert set(look(back)) == {"big", "gone", "gone/x", "old", "way"}

    await shell(vm, "chmod 644 r/new")
    assert (await vm.download_dir("r", back, delete=True)).counts["delete"] == 3
    assert set(look(back)) == {"big", "new", "way"}


async def test_what_cannot_be_listed_is_a_failure_and_nothing_is_deleted_for_it(vm: AsyncVM, local: Path) -> None:
    await vm.upload_dir(local, "r")
    await shell(vm, "chmod 000 r/d")
    before = look(local)
    done = await vm.download_dir("r", local, delete=True)
    assert [failure.path for failure in done.failures] == ["r/d"]
    with pytest.raises(ArkerError, match="could not list what it holds") as raised:
        done.raise_for_failures()
    assert raised.value is done.failures[0].error
    # Its mode has come along, and keeps out everyone but root.
    assert stat.S_IMODE((local / "d").stat().st_mode) == 0
    (local / "d").chmod(0o700)
    assert set(look(local)) == set(before)
    await shell(vm, "chmod 000 r")
    with pytest.raises(RemotePermissionError) as closed:
        await vm.download_dir("r", local, delete=True)
    assert (closed.value.errno, closed.value.filename, closed.value.operation) == (errno.EACCES, "r", "vm.download_dir")


async def test_a_file_that_grows_between_the_listing_and_the_reading(vm: AsyncVM, tmp_path: Path) -> None:
    await shell(vm, "mkdir r; for i in 1 2 3 4 5 6 7 8 9; do echo $i > r/f$i; done")
    await shell(
        vm, "(for n in $(seq 3000); do for i in 1 2 3 4 5 6 7 8 9; do echo x >> r/f$i; done; done) > /dev/null 2>&1 &"
    )
    done = await vm.download_dir("r", tmp_path / "back")
    assert len(done.failures) + len(look(tmp_path / "back")) == 9
    assert all(isinstance(failure.error, FileChangedError) for failure in done.failures)
    sizes = {entry.path: entry.size for entry in done.entries}
    for path, node in look(tmp_path / "back").items():
        assert isinstance(node, File)
        assert len(node.data) == sizes[path]


async def test_what_other_transfers_have_on_their_way_is_no_part_of_it(
    vm: AsyncVM, local: Path, tmp_path: Path
) -> None:
    staging = ".arker-01ARZ3NDEKTSV4RRFFQ69G5FAV"
    build(local, {f"{staging}/0": File(), ".arker-mine/x": File(), f"d/{staging}/0": File(), f"d/{staging}-1": File()})
    await shell(vm, f"mkdir -p r/{staging}/0; touch r/{staging}/0/x; mkdir -p r/d/{staging}; touch r/d/{staging}-parts")
    done = await vm.upload_dir(local, "r")
    assert {change for change in changes(done) if ".arker" in change} == {"mkdir .arker-mine", "create .arker-mine/x"}
    back = await vm.download_dir("r", tmp_path / "back")
    assert (back.failures, {name for name in look(tmp_path / "back") if staging in name}) == ((), set())
    deleted = {f"delete {path}" for path in (f"{staging}/0/x", f"d/{staging}", f"d/{staging}-parts")}
    assert deleted <= set(changes(await vm.upload_dir(local, "r", delete=True)))
