"""What errors leave behind: an error that its own traceback leads to stays in memory, with all that the frames have.

An error holds its traceback, and that the frames that it came through, with their variables. A frame that still has the
error among them, or what leads to it, makes a circle, which only the garbage collector opens.
"""

from __future__ import annotations

import io
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    DirectoryConflictError,
    FleetError,
    LocalFileError,
    NotFoundError,
    RemoteFileError,
    RemoteFileNotFoundError,
    RemoteIsADirectoryError,
    RunFailedError,
)
from arker.models import CHUNK_SIZE
from tests.support.garbage import assert_leaves_nothing, fails

pytestmark = pytest.mark.anyio

Use = Callable[[AsyncVM, Path], Awaitable[object]]

_LARGE = bytes(CHUNK_SIZE + 1)


# --- files ------------------------------------------------------------------------------------------------------------


async def read_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.sync("there-is-none"), RemoteFileNotFoundError)


async def read_refused_today(vm: AsyncVM, _: Path) -> None:
    await fails(vm.files.read_bytes("there-is-none"), RemoteFileNotFoundError)


async def write_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.sync("/etc", b"no file"), RemoteIsADirectoryError)


async def large_write_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.sync("/etc", _LARGE), RemoteIsADirectoryError)


async def put_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.upload(b"no file", "/etc", strategy="put"), RemoteFileError)


async def parts_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.upload(b"no file", "/etc", strategy="parts"), ArkerError)


async def chunks_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.upload(b"no file", "/etc", strategy="chunks"), RemoteFileError)


async def mode_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.upload(b"no file", "/etc", mode=0o600), ArkerError)


class Broken(io.BytesIO):
    """A file that can be read in part."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "broken")
        return super().read(size)


async def put_of_a_broken_file(vm: AsyncVM, _: Path) -> None:
    await fails(vm.upload(Broken(_LARGE), "f", strategy="put"), LocalFileError)


async def upload_of_nothing(vm: AsyncVM, here: Path) -> None:
    await fails(vm.upload(here / "there-is-none", "f"), LocalFileError)


async def download_refused(vm: AsyncVM, here: Path) -> None:
    await fails(vm.download("there-is-none", here / "f"), RemoteFileNotFoundError)


async def download_to_nowhere(vm: AsyncVM, here: Path) -> None:
    await vm.sync("f", b"hello")
    await fails(vm.download("f", here / "there-is-none" / "f"), LocalFileError)


async def open_read_refused(vm: AsyncVM, _: Path) -> None:
    async def opened() -> None:
        async with vm.open_read("there-is-none"):
            pass

    await fails(opened(), RemoteFileNotFoundError)


async def stat_refused(vm: AsyncVM, _: Path) -> None:
    await fails(vm.files.stat("there-is-none"), RemoteFileNotFoundError)


async def open_refused(vm: AsyncVM, _: Path) -> None:
    async def opened() -> None:
        async with vm.files.open("/etc", "wb") as file:
            await file.write(b"no file")

    await fails(opened(), RemoteIsADirectoryError)


async def some_uploads_refused(vm: AsyncVM, here: Path) -> None:
    outcomes = await vm.upload_many(
        [(b"1", "f"), (b"2", "/etc"), (here / "there-is-none", "g"), (_LARGE, "/usr"), (b"3", "/etc/passwd/x")]
    )
    assert [outcome.error is None for outcome in outcomes] == [True, False, False, False, False]


async def some_downloads_refused(vm: AsyncVM, here: Path) -> None:
    await vm.sync("f", b"hello")
    outcomes = await vm.download_many(
        [("f", here / "f"), ("there-is-none", here / "g"), ("f", here / "there-is-none" / "f")]
    )
    assert [outcome.error is None for outcome in outcomes] == [True, False, False]


# --- directories ------------------------------------------------------------------------------------------------------


async def directory_refused(vm: AsyncVM, here: Path) -> None:
    (here / "d").mkdir(exist_ok=True)
    (here / "d" / "f").write_bytes(b"hello")
    await vm.sync("file", b"hello")
    await fails(vm.upload_dir(here / "d", "file"), ArkerError)
    await fails(vm.upload_dir(here / "d", "/proc/d"), ArkerError)


async def directory_in_conflict(vm: AsyncVM, here: Path) -> None:
    (here / "d").mkdir(exist_ok=True)
    (here / "d" / "f").write_bytes(b"hello")
    await vm.sync("d/f/g", b"hello")
    await fails(vm.upload_dir(here / "d", "d"), DirectoryConflictError)


async def directory_of_nothing(vm: AsyncVM, here: Path) -> None:
    await fails(vm.upload_dir(here / "there-is-none", "d"), LocalFileError)
    await fails(vm.download_dir("there-is-none", here / "e"), NotFoundError)


async def directory_with_failures(vm: AsyncVM, here: Path) -> None:
    (here / "d").mkdir(exist_ok=True)
    (here / "d" / "f").write_bytes(os.urandom(8))
    (here / "d" / "long").mkdir(exist_ok=True)
    (here / "d" / "long" / "f").write_bytes(os.urandom(8))
    await vm.run("rm -rf e; mkdir e; mkdir e/long; chmod 0 e/long", check=True)
    report = await vm.upload_dir(here / "d", "e")
    assert report is not None


# --- runs -------------------------------------------------------------------------------------------------------------


async def run_failed(vm: AsyncVM, _: Path) -> None:
    await fails(vm.run("exit 3", check=True), RunFailedError)


async def run_in_background_failed(vm: AsyncVM, _: Path) -> None:
    run = await vm.start("exit 3")
    await fails(run.wait(check=True), RunFailedError)


async def no_such_run(vm: AsyncVM, _: Path) -> None:
    await fails(vm.get_run("there-is-none"), NotFoundError)


FAILURES = [
    *(read_refused, read_refused_today, write_refused, large_write_refused),
    *(put_refused, parts_refused, chunks_refused, mode_refused, put_of_a_broken_file, upload_of_nothing),
    *(download_refused, download_to_nowhere, open_read_refused, stat_refused, open_refused),
    *(some_uploads_refused, some_downloads_refused),
    *(directory_refused, directory_in_conflict, directory_of_nothing, directory_with_failures),
    *(run_failed, run_in_background_failed, no_such_run),
]


@pytest.mark.parametrize("use", FAILURES)
async def test_an_error_leaves_nothing_to_the_garbage_collector(
    vm: AsyncVM, use: Use, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await assert_leaves_nothing(lambda: use(vm, tmp_path), caplog)


async def test_a_fleet_that_cannot_be_forked_leaves_nothing(ar: AsyncArker, caplog: pytest.LogCaptureFixture) -> None:
    async def fork_in_vain() -> None:
        async with ar.fork_many("there-is-none", 2):
            pass

    await assert_leaves_nothing(lambda: fails(fork_in_vain(), FleetError), caplog)


async def test_a_vm_that_has_gone_leaves_nothing(ar: AsyncArker, caplog: pytest.LogCaptureFixture) -> None:
    async def run_in_vain() -> None:
        vm = await ar.fork("ubuntu")
        await vm.delete()
        await fails(vm.run("true"), NotFoundError)
        await fails(vm.sync("f", b"hello"), NotFoundError)
        await fails(ar.find_vm("there-is-none"), NotFoundError)

    await assert_leaves_nothing(run_in_vain, caplog)


async def test_a_fleet_whose_functions_fail_leaves_nothing(ar: AsyncArker, caplog: pytest.LogCaptureFixture) -> None:
    async def work(vm: AsyncVM, item: int) -> None:
        if item:
            await vm.run("exit 3", check=True)
        raise LookupError(item)

    async def fail() -> None:
        async with ar.fork_many("ubuntu", 2) as vms:
            assert [outcome.ok async for outcome in vms.map(work, [0, 1, 0])] == [False, False, False]
            assert not any(outcome.ok for outcome in await vms.run("exit 3", check=True))

    await assert_leaves_nothing(fail, caplog)
