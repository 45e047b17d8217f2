"""Temporary files of this machine: where they cannot be made or written, the error says so and names the directory."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arker import AsyncRemoteFile, AsyncVM, LocalFileError
from arker._files.temporary import TemporaryFile

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@contextmanager
def largest_file(size: int) -> Generator[None, None, None]:
    """Let this process write no larger files, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(params=["missing", "full", "none"])
def directory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Return the directory that errors have to name."""
    if request.param == "none":
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)
        with largest_file(0):  # Python looks for a directory by writing a file
            yield str(tmp_path)
        return
    place = tmp_path / "temporary"
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    if request.param == "missing":
        yield str(place)
        return
    place.mkdir()
    with largest_file(MIB):
        yield str(place)


def check(error: LocalFileError, directory: str) -> None:
    assert directory in str(error)
    # If no directory can be used, the message names all that were tried.
    assert error.filename == directory or "No usable temporary directory" in str(error)


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(6):
        yield bytes(MIB)


async def write(file: AsyncRemoteFile[bytes], count: int) -> None:
    for _ in range(count):
        await file.write(bytes(MIB))


async def test_an_upload_of_unknown_length(vm: AsyncVM, directory: str) -> None:
    with pytest.raises(LocalFileError) as caught:
        await vm.upload(pieces(), "/tmp/file")
    assert caught.value.outcome == "not_started"
    check(caught.value, directory)
    assert not await vm.files.exists("/tmp/file")


async def test_a_file_that_is_being_written(vm: AsyncVM, directory: str) -> None:
    file = vm.files.open("/tmp/file", "wb")
    await file.__aenter__()
    with pytest.raises(LocalFileError) as caught:
        await write(file, 8)
    check(caught.value, directory)
    # A part is missing, also for one who goes on.
    with pytest.raises(LocalFileError):
        await file.aclose()
    assert not await vm.files.exists("/tmp/file")


async def test_a_report_that_is_longer_than_memory_should_hold(vm: AsyncVM, directory: str) -> None:
    await vm.run("yes 'a line with something to be found in it' | head -c 6000000 >/tmp/lines")
    with pytest.raises(LocalFileError) as caught:
        await anext(aiter(vm.files.grep("found", "/tmp/lines")))
    assert caught.value.operation == "vm.files.grep"
    check(caught.value, directory)


async def test_what_was_written_can_be_read_from_memory_and_from_the_disk() -> None:
    for most in (0, 10, 100):
        file = TemporaryFile(in_memory=most)
        assert [file.write(piece) for piece in (b"01234", bytearray(b"56789"), memoryview(b"abc"))] == [5, 5, 3]
        file.seek(3)
        assert (file.read(8), file.read(8), file.read(8)) == (b"3456789a", b"bc", b"")
        source = file.source()
        file.close()
        assert (source.size, bytes(source.read(0, 13))) == (13, b"0123456789abc")
        source.close()
        with pytest.raises(LocalFileError):
            file.read(1)
