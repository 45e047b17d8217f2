"""Files in and out, on the embedded backend."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

import pytest

from arker import (
    CHUNK_SIZE,
    ApiError,
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadRequestError,
    Hooks,
    InvalidArgumentError,
    NotFoundError,
    RequestEvent,
    RunFailedError,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 7])
async def test_what_goes_in_comes_out(vm: AsyncVM, size: int) -> None:
    data = os.urandom(size)
    await vm.sync("/tmp/file.bin", data)
    digest = await vm.run("sha256sum < /tmp/file.bin")
    assert digest.stdout_text.split()[0] == hashlib.sha256(data).hexdigest()
    assert await vm.sync("/tmp/file.bin") == data


async def test_kinds_of_buffers_and_paths(vm: AsyncVM) -> None:
    for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"a view of bytes")[2:6]):
        await vm.sync(PurePosixPath("/tmp/kinds"), data)
        assert await vm.sync("/tmp/kinds") == bytes(data)
    await vm.sync("relative/to/home", b"x")
    assert await vm.sync("/home/user/relative/to/home") == b"x"
    await vm.sync("näme with 'quotes' and\nnewline", b"y")
    assert await vm.sync("näme with 'quotes' and\nnewline") == b"y"


async def test_a_file_is_replaced_whole(vm: AsyncVM) -> None:
    await vm.sync("file", b"a longer first version")
    await vm.sync("file", b"short")
    assert await vm.sync("file") == b"short"


async def test_what_there_is_not_to_read(vm: AsyncVM) -> None:
    with pytest.raises(NotFoundError):
        await vm.sync("/tmp/no-such-file")
    await vm.run("mkfifo /tmp/fifo; ln -s loop /tmp/loop")
    for path in ("/tmp", "/tmp/fifo", "/dev/zero", "/tmp/loop"):
        with pytest.raises(ArkerError) as caught:
            await vm.sync(path)
        assert isinstance(caught.value, (BadRequestError, NotFoundError)), path


async def test_a_failed_write_leaves_the_old_file(vm: AsyncVM) -> None:
    await vm.sync("file", b"old")
    await vm.run("mkdir -p directory/full; mkdir locked; chmod 500 locked; cp file locked/")
    with pytest.raises(ArkerError):
        await vm.sync("directory", b"new")
    with pytest.raises(ArkerError):
        await vm.sync("/usr/bin/python3", b"new")
    assert await vm.sync("file") == b"old"
    left = await vm.run("ls -A . directory; ls -A /tmp")
    assert left.stdout_text.split() == [".:", "directory", "file", "locked", "directory:", "full"]


async def test_many_at_once(vm: AsyncVM) -> None:
    files = {f"/tmp/many/{number}": os.urandom(5000) for number in range(40)}
    await asyncio.gather(*(vm.sync(path, data) for path, data in files.items()))
    assert list(await asyncio.gather(*map(vm.sync, files))) == list(files.values())


async def test_a_tilde_is_the_home_directory(vm: AsyncVM, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"1")
    await vm.sync("~/sync", b"1")
    assert (await vm.upload(b"1", PurePosixPath("~/upload"))).path == "upload"
    await vm.upload_many([(b"1", "~/deep/many")])
    await vm.upload_dir(tmp_path / "in", "~/dir")
    await vm.upload_dir(tmp_path / "in", "~")
    await vm.sync("~$report.docx", b"1")
    await vm.sync("./~/plain", b"1")
    found = (await vm.run("cd && find . -type f | sort")).stdout_text.split()
    wanted = ["./deep/many", "./dir/file", "./file", "./sync", "./upload", "./~/plain", "./~$report.docx"]
    assert sorted(found) == sorted(wanted)
    await vm.download("~/sync", tmp_path / "out")
    assert [await vm.sync("~/sync"), (tmp_path / "out").read_bytes()] == [b"1", b"1"]
    async with vm.open_read("~/sync") as stream, vm.open_session(cwd="~/deep") as session:
        assert await stream.read() == b"1"
        assert (await session.run("pwd")).stdout_text.strip().endswith("/deep")
    with pytest.raises(InvalidArgumentError, match=r"expected ~/… for the home directory, .* or \./~root/x"):
        await vm.sync("~root/x", b"")


async def test_errors_name_the_file_that_they_are_about(vm: AsyncVM, tmp_path: Path) -> None:
    await vm.run("mkdir d; mkfifo p")

    async def read() -> bytes:
        async with vm.open_read("/nope") as stream:
            return await stream.read()

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "/nope": lambda: vm.sync("/nope"),
        "nope": lambda: vm.download("nope", tmp_path / "a"),
        "//nope": read,
        "d": lambda: vm.sync("d", b""),
        "./d": lambda: vm.sync("./d", bytes(CHUNK_SIZE + 1)),
        "d/": lambda: vm.upload(b"x", "d/", strategy="chunks"),
        "p": lambda: vm.upload_dir(tmp_path, "p"),
        "/none": lambda: vm.download_dir("/none", tmp_path / "b"),
        "mine": lambda: vm.upload(tmp_path / "missing", "mine"),
    }
    for path, call in calls.items():
        with pytest.raises(ArkerError) as caught:
            await call()
        path = "/nope" if path == "//nope" else path
        assert caught.value.file == path
        assert f"file {path}" in str(caught.value)
    outcomes = [*await vm.download_many([("/nope", tmp_path / "c")]), *await vm.upload_many([(b"", "d")])]
    assert [outcome.error.file for outcome in outcomes if outcome.error is not None] == ["/nope", "d"]


async def test_what_the_client_concludes_itself_has_no_http_status(vm: AsyncVM, tmp_path: Path) -> None:
    await vm.run("mkfifo p")
    calls: list[Awaitable[object]] = [vm.upload_dir(tmp_path, "p"), vm.download_dir("/none", tmp_path / "b")]
    for call in calls:
        with pytest.raises(ApiError) as caught:
            await call
        assert (caught.value.status, caught.value.from_service) == (0, False)
        assert "HTTP" not in str(caught.value)
    with pytest.raises(RunFailedError) as failed:
        await vm.run("exit 3", check=True)
    assert failed.value.status == 0


async def test_a_file_goes_to_the_root_without_a_look_at_all_of_it(vm: AsyncVM, tmp_path: Path) -> None:
    (tmp_path / "usr" / "share").mkdir(parents=True)
    (tmp_path / "home" / "user").mkdir(parents=True)
    (tmp_path / "home" / "user" / "two.txt").write_bytes(b"2")
    replies: list[int] = []

    def note(event: RequestEvent) -> None:
        replies.append(event.bytes_received)

    vm_id, settings = vm.id, vm._place.context.transport.settings  # pyright: ignore[reportPrivateUsage]
    hooks = Hooks(on_request=note)
    async with AsyncArker(settings.api_key, base_url=settings.base_url, ledger=False, hooks=hooks) as client:
        report = await client.vm(vm_id).upload_dir(tmp_path, "/")
        assert report.counts["create"] == 1
        assert not {"create", "update"} & (await client.vm(vm_id).upload_dir(tmp_path, "/")).counts.keys()
    assert await vm.sync("~/two.txt") == b"2"
    assert max(replies) < 100_000  # the list of a whole system has megabytes
