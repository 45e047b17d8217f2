"""Errors of files in a VM are Python's as well, with number and path: from the server's words, or from a look."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import orjson
import pytest

from arker import (
    AsyncVM,
    BadRequestError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    RemoteFileError,
    RemoteFileNotFoundError,
    RemoteNoSpaceError,
    ResourcePressureError,
)
from tests.support.clients import make_client
from tests.support.server import Reply, ScriptedServer, error, ok

pytestmark = pytest.mark.anyio

PREPARED = """
cd /tmp && mkdir dir closed fixed && touch file unreadable closed/in fixed/in && chmod 0 unreadable closed &&
chmod a-w fixed && ln -s loop-b loop-a && ln -s loop-a loop-b && mkfifo fifo && ln -s nowhere/x broken
"""

READS = [
    ("/tmp/none", FileNotFoundError, errno.ENOENT),
    ("/tmp/broken", FileNotFoundError, errno.ENOENT),
    ("/tmp/dir", IsADirectoryError, errno.EISDIR),
    ("/tmp/file/x", NotADirectoryError, errno.ENOTDIR),
    ("/tmp/closed/in", PermissionError, errno.EACCES),
    ("/tmp/unreadable", PermissionError, errno.EACCES),
    ("/tmp/loop-a", OSError, errno.ELOOP),
    ("/tmp/fifo", OSError, errno.EINVAL),
    ("/tmp/" + "x" * 300, OSError, errno.ENAMETOOLONG),
]
WRITES = [
    ("/tmp/dir", IsADirectoryError, errno.EISDIR),
    ("/tmp/file/x", NotADirectoryError, errno.ENOTDIR),
    ("/tmp/closed/new", PermissionError, errno.EACCES),
    ("/tmp/fixed/new", PermissionError, errno.EACCES),
    ("/tmp/" + "x" * 300, OSError, errno.ENAMETOOLONG),
]


@pytest.fixture
async def prepared(vm: AsyncVM) -> AsyncVM:
    await vm.run(PREPARED, check=True)
    return vm


def check(caught: RemoteFileError, path: str, kind: type[OSError], number: int) -> None:
    assert isinstance(caught, kind)
    assert (caught.errno, caught.filename, caught.file) == (number, path, path)
    assert path in caught.message
    assert caught.operation is not None


async def test_what_cannot_be_read(prepared: AsyncVM, tmp_path: Path) -> None:
    for path, kind, number in READS:
        for read in (
            lambda path=path: prepared.sync(path),
            lambda path=path: prepared.download(path, tmp_path / "x"),
            lambda path=path: prepared.download(path, io.BytesIO()),
            lambda path=path: prepared.files.read_bytes(path),
        ):
            with pytest.raises(RemoteFileError) as caught:
                await read()
            check(caught.value, path, kind, number)
        with pytest.raises(RemoteFileError) as caught:
            async with prepared.open_read(path):
                pass
        check(caught.value, path, kind, number)
    assert len((await prepared.list_sessions()).sessions) <= 2, "the default one, and one that is kept"


async def test_what_cannot_be_written(prepared: AsyncVM) -> None:
    for path, kind, number in WRITES:
        for write in (
            lambda path=path: prepared.sync(path, b"x"),
            lambda path=path: prepared.upload(b"x", path),
            lambda path=path: prepared.files.write_bytes(path, b"x"),
            lambda path=path: prepared.files.write_bytes(path, b"x", append=True),
        ):
            with pytest.raises(RemoteFileError) as caught:
                await write()
            check(caught.value, path, kind, number)
    with pytest.raises(FileNotFoundError) as missing:
        await prepared.files.write_text("/tmp/none/x", "")
    check(missing.value, "/tmp/none/x", FileNotFoundError, errno.ENOENT)  # type: ignore[arg-type]


async def test_modes_of_the_vm_are_told(prepared: AsyncVM) -> None:
    with pytest.raises(PermissionError) as caught:
        await prepared.files.mkdir("/tmp/fixed/new")
    assert caught.value.errno == errno.EACCES
    with pytest.raises(PermissionError):
        await prepared.files.remove("/tmp/fixed/in")
    with pytest.raises(PermissionError):
        await prepared.files.rename("/tmp/fixed/in", "/tmp/elsewhere")
    with pytest.raises(PermissionError):
        await prepared.files.listdir("/tmp/closed")
    with pytest.raises(PermissionError):
        await prepared.files.chown("/tmp/file", 0)
    with pytest.raises(FileExistsError) as exists:
        await prepared.files.mkdir("/tmp/dir")
    assert isinstance(exists.value, ConflictError)
    with pytest.raises(OSError, match="not empty") as full:
        await prepared.files.rmdir("/tmp")
    assert full.value.errno == errno.ENOTEMPTY


async def test_a_vm_that_is_gone_is_no_file_that_is_not_there(vm: AsyncVM) -> None:
    await vm.delete()
    for call in (vm.sync("/tmp/x"), vm.files.stat("/tmp/x"), vm.files.read_bytes("/tmp/x")):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert not isinstance(caught.value, OSError)


SAID = [
    ("not_found", "ENOENT: No such file or directory", {}, FileNotFoundError, NotFoundError, errno.ENOENT),
    ("not_found", "there is none", {"resource": "file"}, FileNotFoundError, NotFoundError, errno.ENOENT),
    ("bad_request", "EISDIR: it is a directory", {}, IsADirectoryError, BadRequestError, errno.EISDIR),
    ("bad_request", "EACCES: no", {}, PermissionError, BadRequestError, errno.EACCES),
    ("bad_request", "EEXIST: no", {}, FileExistsError, ConflictError, errno.EEXIST),
    ("bad_request", "ELOOP: no", {}, OSError, BadRequestError, errno.ELOOP),
    ("unauthorized", "ENOSPC: No space left on device", {}, OSError, ResourcePressureError, errno.ENOSPC),
    (
        *("bad_request", "refused", {"violations": [{"field": "writes[0].path", "message": "ENOTDIR: a file"}]}),
        *(NotADirectoryError, BadRequestError, errno.ENOTDIR),
    ),
]


@pytest.mark.parametrize(("code", "message", "details", "kind", "ours", "number"), SAID)
async def test_the_server_s_word_needs_no_look(
    server: ScriptedServer,
    code: str,
    message: str,
    details: dict[str, object],
    kind: type[OSError],
    ours: type[Exception],
    number: int,
) -> None:
    vm = make_client(server).vm("vm-1")
    told = {"code": code, "message": message, "details": details}
    server.script(
        Reply(status=400, body=orjson.dumps({"error": told})), ok({"results": [{"path": "f", "error": told}]})
    )
    for call in (vm.sync("/tmp/f"), vm.sync("/tmp/f", b"x")):
        with pytest.raises(RemoteFileError) as caught:
            await call
        check(caught.value, "/tmp/f", kind, number)
        assert isinstance(caught.value, ours)
        assert (caught.value.code, caught.value.details) == (code, details)
    assert isinstance(caught.value, RemoteNoSpaceError) == (number == errno.ENOSPC)


async def test_what_names_another_resource_needs_no_look(server: ScriptedServer) -> None:
    vm = make_client(server).vm("vm-1")
    told = {"code": "not_found", "message": "no such VM", "details": {"resource": "vm"}}
    server.script(Reply(status=404, body=orjson.dumps({"error": told})))
    with pytest.raises(NotFoundError) as caught:
        await vm.sync("/tmp/f")
    assert not isinstance(caught.value, RemoteFileNotFoundError)


async def test_an_error_that_nothing_explains_is_raised_as_it_came(server: ScriptedServer) -> None:
    vm = make_client(server).vm("vm-1")
    server.script(error("bad_request", status=400), error("forbidden", status=403))
    with pytest.raises(BadRequestError) as caught:
        await vm.sync("/tmp/f")
    assert not isinstance(caught.value, OSError)


async def test_many_files_have_such_errors_too(prepared: AsyncVM, tmp_path: Path) -> None:
    """Each is told the server's word only: a look for each would cost more than the files."""
    outcomes = await prepared.upload_many([(b"x", "/tmp/dir"), (b"y", "/tmp/good")])
    assert isinstance(outcomes[0].error, BadRequestError)
    assert outcomes[1].ok


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda vm: vm.files.stat(""), "path"),
        (lambda vm: vm.files.stat(b"/tmp"), "path"),
        (lambda vm: vm.files.stat("a\0b"), "path"),
        (lambda vm: vm.files.stat("\ud800"), "path"),
        (lambda vm: vm.files.stat("~root/x"), "path"),
        (lambda vm: vm.files.stat("/tmp", follow_symlinks=1), "follow_symlinks"),
        (lambda vm: vm.files.mkdir("/tmp/x", mode=0o10000), "mode"),
        (lambda vm: vm.files.mkdir("/tmp/x", parents="yes"), "parents"),
        (lambda vm: vm.files.chmod("/tmp/x", "755"), "mode"),
        (lambda vm: vm.files.chmod("/tmp/x", None), "mode"),
        (lambda vm: vm.files.chown("/tmp/x"), "owner"),
        (lambda vm: vm.files.chown("/tmp/x", "a b"), "owner"),
        (lambda vm: vm.files.chown("/tmp/x", True), "owner"),
        (lambda vm: vm.files.symlink("", "/tmp/x"), "target"),
        (lambda vm: vm.files.rename("/tmp/x", ""), "target"),
        (lambda vm: vm.files.write_bytes("/tmp/x", "text"), "data"),
        (lambda vm: vm.files.write_text("/tmp/x", b"bytes"), "text"),
        (lambda vm: vm.files.write_text("/tmp/x", "é", encoding="ascii"), "text"),
        (lambda vm: vm.files.write_text("/tmp/x", "é", encoding="none"), "encoding"),
        (lambda vm: vm.files.read_text("/tmp/x", errors="none"), "errors"),
        (lambda vm: vm.files.read_bytes("/tmp/x", max_bytes=-1), "max_bytes"),
        (lambda vm: vm.files.glob(""), "pattern"),
        (lambda vm: vm.files.glob("../*"), "pattern"),
        (lambda vm: vm.files.stat("/tmp", deadline=-1), "deadline"),
    ],
)
async def test_bad_arguments_are_refused_before_anything_is_sent(
    server: ScriptedServer, call: object, argument: str
) -> None:
    vm = make_client(server).vm("vm-1")
    with pytest.raises(InvalidArgumentError) as caught:
        await call(vm)  # type: ignore[operator]
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda vm: vm.files.open("/tmp/x", "r+"), "mode"),
        (lambda vm: vm.files.open("/tmp/x", "rw"), "mode"),
        (lambda vm: vm.files.open("/tmp/x", ""), "mode"),
        (lambda vm: vm.files.open("/tmp/x", encoding="none"), "encoding"),
        (lambda vm: vm.files.watch("/tmp/x", interval=0), "interval"),
        (lambda vm: vm.files.watch("", interval=1), "path"),
        (lambda vm: vm.files.scandir("/tmp/x", recursive=1), "recursive"),
        (lambda vm: vm.files.scandir("/tmp/x", deadline=0), "deadline"),
        (lambda vm: vm.files.grep("", "/tmp/x"), "pattern"),
        (lambda vm: vm.files.grep("a\nb", "/tmp/x"), "pattern"),
        (lambda vm: vm.files.grep("a", "/tmp/x", fixed=1), "fixed"),
    ],
)
def test_bad_arguments_of_what_comes_later(server: ScriptedServer, call: object, argument: str) -> None:
    vm = make_client(server).vm("vm-1")
    with pytest.raises(InvalidArgumentError) as caught:
        call(vm)  # type: ignore[operator]
    assert caught.value.argument == argument
