"""Errors of files in a VM are Python's as well, with number and path: from the server's words, or from a look."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

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
from tests.support.secrets import API_KEY
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


async def test_the_server_s_words_where_the_system_s_say_little(prepared: AsyncVM) -> None:
    for path, words in (
        ("/proc/self/status", "it belongs to /proc: read it by a command"),
        ("/tmp/fifo", "regular file"),
    ):
        with pytest.raises(RemoteFileError, match=f"{path}: Invalid argument: .*{words}") as caught:
            await prepared.files.read_text(path)
        assert caught.value.errno == errno.EINVAL
    for path in ("/tmp/none", "/tmp/dir"):
        with pytest.raises(RemoteFileError) as caught:
            await prepared.files.read_text(path)
        assert caught.value.message == f"{path}: {os.strerror(caught.value.errno or 0)}"


async def test_what_cannot_be_read(prepared: AsyncVM, tmp_path: Path) -> None:
    for path, kind, number in READS:
        reads: list[Awaitable[object]] = [
            prepared.sync(path),
            prepared.download(path, tmp_path / "x"),
            prepared.download(path, io.BytesIO()),
            prepared.files.read_bytes(path),
        ]
        for read in reads:
            with pytest.raises(RemoteFileError) as caught:
                await read
            check(caught.value, path, kind, number)
        with pytest.raises(RemoteFileError) as caught:
            async with prepared.open_read(path):
                pass
        check(caught.value, path, kind, number)
    assert len((await prepared.list_sessions()).sessions) <= 2, "the default one, and one that is kept"


async def test_what_cannot_be_written(prepared: AsyncVM) -> None:
    for path, kind, number in WRITES:
        writes: list[Awaitable[object]] = [
            prepared.sync(path, b"x"),
            prepared.upload(b"x", path),
            prepared.files.write_bytes(path, b"x"),
            prepared.files.write_bytes(path, b"x", append=True),
        ]
        for write in writes:
            with pytest.raises(RemoteFileError) as caught:
                await write
            check(caught.value, path, kind, number)
    with pytest.raises(FileNotFoundError) as missing:
        await prepared.files.write_text("/tmp/none/x", "")
    assert isinstance(missing.value, RemoteFileNotFoundError)
    check(missing.value, "/tmp/none/x", FileNotFoundError, errno.ENOENT)


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
    calls: list[Awaitable[object]] = [vm.sync("/tmp/x"), vm.files.stat("/tmp/x"), vm.files.read_bytes("/tmp/x")]
    for each in calls:
        with pytest.raises(NotFoundError) as caught:
            await each
        assert not isinstance(caught.value, OSError)


SAID: list[tuple[Any, ...]] = [
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
    calls: list[Awaitable[object]] = [vm.sync("/tmp/f"), vm.sync("/tmp/f", b"x")]
    for each in calls:
        with pytest.raises(RemoteFileError) as caught:
            await each
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


Call = Callable[[AsyncVM], Any]


def call(name: str, *arguments: object, **keywords: object) -> Call:
    """Return a call of a method of ``vm.files``."""
    return lambda vm: getattr(vm.files, name)(*arguments, **keywords)


@pytest.mark.parametrize(
    ("made", "argument"),
    [
        (call("stat", ""), "path"),
        (call("stat", b"/tmp"), "path"),
        (call("stat", "a\0b"), "path"),
        (call("stat", "\ud800"), "path"),
        (call("stat", "~root/x"), "path"),
        (call("stat", "/tmp", follow_symlinks=1), "follow_symlinks"),
        (call("mkdir", "/tmp/x", mode=0o10000), "mode"),
        (call("mkdir", "/tmp/x", parents="yes"), "parents"),
        (call("chmod", "/tmp/x", "755"), "mode"),
        (call("chmod", "/tmp/x", None), "mode"),
        (call("chown", "/tmp/x"), "owner"),
        (call("chown", "/tmp/x", "a b"), "owner"),
        (call("chown", "/tmp/x", True), "owner"),
        (call("symlink", "", "/tmp/x"), "target"),
        (call("rename", "/tmp/x", ""), "target"),
        (call("write_bytes", "/tmp/x", "text"), "data"),
        (call("write_text", "/tmp/x", b"bytes"), "text"),
        (call("write_text", "/tmp/x", "é", encoding="ascii"), "text"),
        (call("write_text", "/tmp/x", "é", encoding="none"), "encoding"),
        (call("read_text", "/tmp/x", errors="none"), "errors"),
        (call("read_bytes", "/tmp/x", max_bytes=-1), "max_bytes"),
        (call("glob", ""), "pattern"),
        (call("glob", "../*"), "pattern"),
        (call("stat", "/tmp", deadline=-1), "deadline"),
    ],
)
async def test_bad_arguments_are_refused_before_anything_is_sent(
    server: ScriptedServer, made: Call, argument: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await made(make_client(server).vm("vm-1"))
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("made", "argument"),
    [
        (call("open", "/tmp/x", "r+"), "mode"),
        (call("open", "/tmp/x", "rw"), "mode"),
        (call("open", "/tmp/x", ""), "mode"),
        (call("open", "/tmp/x", encoding="none"), "encoding"),
        (call("watch", "/tmp/x", interval=0), "interval"),
        (call("watch", "", interval=1), "path"),
        (call("scandir", "/tmp/x", recursive=1), "recursive"),
        (call("scandir", "/tmp/x", deadline=0), "deadline"),
        (call("grep", "", "/tmp/x"), "pattern"),
        (call("grep", "a\nb", "/tmp/x"), "pattern"),
        (call("grep", "a", "/tmp/x", fixed=1), "fixed"),
    ],
)
def test_bad_arguments_of_what_comes_later(server: ScriptedServer, made: Call, argument: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        made(make_client(server).vm("vm-1"))
    assert caught.value.argument == argument


async def test_a_key_in_a_path_does_not_show(server: ScriptedServer) -> None:
    """What is raised is looked through for it when the test has ended, too."""
    vm = make_client(server).vm("vm-1")
    told = {"code": "not_found", "message": "ENOENT: No such file or directory"}
    server.script(Reply(status=404, body=orjson.dumps(told)))
    with pytest.raises(FileNotFoundError) as caught:
        await vm.sync(f"/tmp/{API_KEY}")
    shown = f"{caught.value!r} {caught.value.filename} {vars(caught.value)}"
    assert API_KEY not in shown
    assert "/tmp/" in shown
