"""Files: inline and by presigned URLs, on the wire (contract, section 6)."""

from __future__ import annotations

import array
import base64
import hashlib
import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from arker import (
    CHUNK_SIZE,
    AsyncVM,
    BadReplyError,
    BadRequestError,
    FileTooLargeError,
    ForbiddenError,
    InternalError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
    ResourcePressureError,
    UnavailableError,
    UnsupportedOperationError,
)
from tests.support.clients import COMPUTE, make_client
from tests.support.secrets import API_KEY, SIGNATURE
from tests.support.server import Drop, Recorded, Reply, Script, ScriptedServer, dropped, error, ok

pytestmark = pytest.mark.anyio
STRICT_REPLIES = True

SYNC = f"{COMPUTE}/v1/vms/vm-1/sync"
BIG = bytes(range(256)) * (CHUNK_SIZE // 256) + b"x"
DONE = {"path": "/f", "size": 1, "complete": True, "written": True}


def inline(content: str, encoding: str = "utf-8", size: int | None = None) -> Reply:
    return ok({"path": "/f", "size": len(content) if size is None else size, "content": content, "encoding": encoding})


def wrote(**result: Any) -> Reply:
    return ok({"results": [{**DONE, **result}]})


def object_url(server: ScriptedServer, name: str = "o%2F1") -> str:
    return f"{server.url}/bucket/{name}?X-Signature={SIGNATURE}%3D&x=%20"


def presigned_read(store: ScriptedServer, size: int, **more: Any) -> Reply:
    return ok(
        {"path": "/f", "size": size, "presigned_url": object_url(store), "expires_in": 60, "method": "GET", **more}
    )


def presigned_write(store: ScriptedServer, upload_id: str | None = "up-1", **more: Any) -> Reply:
    target = {"presigned_url": object_url(store), "upload_id": upload_id, "expires_in": 60.5, "method": "PUT"}
    return ok({"results": [{"path": "/f", "size": 1, "complete": False, "written": False, **target, **more}]})


def check_unauthorized(request: Recorded) -> None:
    """Nothing on the way to an object store that only the API is to see."""
    assert "Authorization" not in request.headers
    assert "Idempotency-Key" not in request.headers
    assert "Cookie" not in request.headers
    assert not any(API_KEY in value for value in request.headers.values())
    assert API_KEY.encode() not in request.body


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (inline("hi"), b"hi"),
        (inline("hé", size=3), "hé".encode()),
        (inline(""), b""),
        (inline("/wD+", "base64", 3), b"\xff\x00\xfe"),
        (ok({"ok": True, "op": "read", "path": "/f", "size": 1, "content": "x", "encoding": "utf8"}), b"x"),
    ],
)
async def test_read_inline(server: ScriptedServer, vm: AsyncVM, reply: Reply, expected: bytes) -> None:
    server.script(reply)
    assert await vm.sync("/tmp/ü") == expected
    assert (server.last.method, server.last.target) == ("POST", SYNC)
    assert server.last.json == {"op": "read", "path": "/tmp/ü"}
    assert server.last.headers["Authorization"] == f"Bearer {API_KEY}"


async def test_read_presigned(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(presigned_read(other_server, len(BIG)))
    other_server.script(Reply(body=BIG, headers={"Content-Type": "application/octet-stream"}))
    assert await vm.sync(PurePosixPath("/f")) == BIG
    assert other_server.last.method == "GET"
    assert other_server.last.target == f"/bucket/o%2F1?X-Signature={SIGNATURE}%3D&x=%20"
    check_unauthorized(other_server.last)
    assert other_server.last.headers["User-Agent"].startswith("arker-async/")


async def test_read_presigned_without_a_length(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(presigned_read(server, 5), Reply(body=b"hello", chunked=True))
    assert await vm.sync("/f") == b"hello"


@pytest.mark.parametrize(
    "failure",
    [
        *(Reply(status=status) for status in (429, 502, 503, 504)),
        dropped(Drop.AFTER_PROCESSING),
        Reply(body=b"hello", drop=Drop.MID_BODY),
        Reply(body=b"hell"),
        Reply(body=b"hello!", chunked=True),
    ],
)
async def test_reads_of_objects_are_repeated(server: ScriptedServer, vm: AsyncVM, failure: Reply) -> None:
    server.script(presigned_read(server, 5), failure, failure, Reply(body=b"hello"))
    assert await vm.sync("/f") == b"hello"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFoundError), (400, InternalError), (500, InternalError), (412, InternalError)],
)
async def test_other_answers_of_the_store(
    server: ScriptedServer, vm: AsyncVM, status: int, kind: type[Exception]
) -> None:
    body = f"<Error><Code>Nope</Code><Signature>{SIGNATURE}</Signature></Error>".encode()
    server.script(presigned_read(server, 5), Reply(status=status, body=body))
    with pytest.raises(kind) as caught:
        await vm.sync("/f")
    assert str(caught.value).startswith(f"vm.sync: the object store answered HTTP {status}: Nope (")
    assert len(server.requests) == 2


@pytest.mark.parametrize("size", [256 * 1024 * 1024 + 1, 1 << 40])
async def test_a_file_that_is_too_large_for_memory_is_not_asked_for(
    server: ScriptedServer, vm: AsyncVM, size: int
) -> None:
    server.script(presigned_read(server, size))
    with pytest.raises(FileTooLargeError, match=r"use download\(\), or pass a larger max_bytes") as caught:
        await vm.sync("/f")
    assert (caught.value.size, caught.value.max_bytes) == (size, 256 * 1024 * 1024)
    assert (caught.value.operation, caught.value.outcome, caught.value.vm_id) == ("vm.sync", "not_started", "vm-1")
    assert len(server.requests) == 1


async def test_how_much_is_read_is_the_caller_s_choice(server: ScriptedServer, vm: AsyncVM) -> None:
    for most in (5, None):
        server.script(presigned_read(server, 5), Reply(body=b"hello"), inline("hello"))
        assert await vm.sync("/f", max_bytes=most) == b"hello"
        assert await vm.sync("/f", max_bytes=most) == b"hello"
    server.script(presigned_read(server, 5), inline("hello"))
    for _ in range(2):
        with pytest.raises(FileTooLargeError):
            await vm.sync("/f", max_bytes=4)
    # It may have become another file when its URL is asked for anew.
    server.script(presigned_read(server, 5), Reply(status=403), presigned_read(server, 6))
    with pytest.raises(FileTooLargeError):
        await vm.sync("/f", max_bytes=5)


@pytest.mark.parametrize("most", [-1, 1.5, "1", True])
async def test_a_bad_bound(server: ScriptedServer, vm: AsyncVM, most: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_bytes"):
        await vm.sync("/f", max_bytes=most)
    assert server.requests == []


async def test_an_expired_url_is_renewed(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    gone = Reply(status=403, body=b"<Code>AccessDenied</Code>")
    server.script(*(presigned_read(other_server, 2) for _ in range(3)))
    other_server.script(gone, gone, Reply(body=b"hi"))
    assert await vm.sync("/f") == b"hi"
    assert (len(server.requests), len(other_server.requests)) == (3, 3)
    server.answer(lambda _: presigned_read(other_server, 2))
    other_server.answer(gone)
    with pytest.raises(ForbiddenError, match="AccessDenied"):
        await vm.sync("/f")
    assert (len(server.requests), len(other_server.requests)) == (6, 6)


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "$"),
        ({"path": "/f", "size": 1}, "$"),
        ({"path": "/f", "size": 2, "content": "x", "encoding": "utf-8"}, "$.size"),
        ({"path": "/f", "size": 1, "content": "x", "encoding": "rot13"}, "$.encoding"),
        ({"path": "/f", "size": 1, "content": "x"}, "$.encoding"),
        ({"path": "/f", "size": 1, "content": None, "encoding": "utf-8"}, "$.content"),
        ({"path": "/f", "size": 1, "presigned_url": "http://127.0.0.1:9/"}, "$.expires_in"),
        (
            {"path": "/f", "size": 1, "presigned_url": "http://127.0.0.1:9/", "expires_in": 1, "method": "PUT"},
            "$.method",
        ),
        ({"path": "/f", "size": 1, "presigned_url": "ftp://h/o", "expires_in": 1}, "$.presigned_url"),
        ({"path": "/f", "size": 1, "presigned_url": "/o", "expires_in": 1}, "$.presigned_url"),
        ({"path": "/f", "size": 1, "presigned_url": "http://h:99999/o", "expires_in": 1}, "$.presigned_url"),
        ({"path": "/f", "size": 1, "presigned_url": "http://[/o", "expires_in": 1}, "$.presigned_url"),
    ],
)
async def test_bad_replies_to_reads(server: ScriptedServer, vm: AsyncVM, payload: dict[str, Any], path: str) -> None:
    server.script(ok(payload))
    with pytest.raises(BadReplyError) as caught:
        await vm.sync("/f")
    assert (caught.value.path, caught.value.operation) == (path, "vm.sync")
    assert len(server.requests) == 1


# --- writing inline --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", b"\xff\x00\xfe", bytes(CHUNK_SIZE)], ids=["none", "one", "odd", "limit"])
async def test_write_inline(server: ScriptedServer, vm: AsyncVM, data: bytes) -> None:
    server.script(wrote(size=len(data), received_bytes=len(data), ranges=[{"start": 0, "end": len(data)}]))
    await vm.sync("/tmp/ü", data)
    assert (server.last.method, server.last.target) == ("POST", SYNC)
    assert server.last.headers["Content-Length"] == str(len(server.last.body))
    assert "Transfer-Encoding" not in server.last.headers
    entry = server.last.json["writes"][0]
    upload_id = entry.pop("upload_id")
    assert re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", upload_id)
    assert base64.b64decode(entry.pop("content"), validate=True) == data
    digest = hashlib.sha256(data).hexdigest()
    assert entry == {"path": "/tmp/ü", "size": len(data), "start": 0, "end": len(data), "sha256": digest}
    assert server.last.json["op"] == "write"
    assert len(server.last.json["writes"]) == 1


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"abcdef"),
        memoryview(b"abcdef"),
        memoryview(b"_abcdef_")[1:7],
        memoryview(array.array("H", [25185, 25699, 26213])),
        memoryview(bytearray(b"abcdef")).cast("B", (2, 3)),
    ],
)
async def test_any_buffer_is_taken(server: ScriptedServer, vm: AsyncVM, data: Any) -> None:
    server.script(wrote())
    await vm.sync("f", data)
    entry = server.last.json["writes"][0]
    assert (base64.b64decode(entry["content"]), entry["size"]) == (b"abcdef", 6)


async def test_a_write_is_repeated_as_it_was(server: ScriptedServer, vm: AsyncVM) -> None:
    """The same upload id, so that the server's ledger sees one file."""
    busy = ok({"results": [{"error": {"code": "unavailable", "message": "later"}}]})
    server.script(dropped(Drop.AFTER_PROCESSING), busy, wrote())
    await vm.sync("f", b"x")
    assert len({request.body for request in server.requests}) == 1
    server.script(wrote())
    await vm.sync("f", b"x")
    assert server.requests[-1].json["writes"][0]["upload_id"] != server.requests[0].json["writes"][0]["upload_id"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [("bad_request", BadRequestError), ("unsupported_operation", UnsupportedOperationError)],
)
async def test_errors_of_entries(server: ScriptedServer, vm: AsyncVM, code: str, kind: type[Exception]) -> None:
    refused = ok({"results": [{"path": "f", "error": {"code": code, "message": "digest"}}]})
    # Why a path was refused is looked for in the VM.
    asked = [error("forbidden", status=403)] if code == "bad_request" else []
    server.script(refused, *asked)
    with pytest.raises(kind, match="digest") as caught:
        await vm.sync("f", b"x")
    assert getattr(caught.value, "status", None) == 200


async def test_a_busy_entry_at_the_last_attempt(server: ScriptedServer, vm: AsyncVM) -> None:
    server.answer(ok({"results": [{"error": {"code": "unavailable", "message": "later"}}]}))
    with pytest.raises(UnavailableError) as caught:
        await vm.sync("f", b"x")
    assert (caught.value.status, caught.value.attempts, len(server.requests)) == (200, 4, 4)


@pytest.mark.parametrize(("complete", "written"), [(False, False), (True, False), (False, True)])
async def test_only_complete_and_written_is_success(
    server: ScriptedServer, vm: AsyncVM, complete: bool, written: bool
) -> None:
    server.script(wrote(complete=complete, written=written))
    with pytest.raises(InternalError) as caught:
        await vm.sync("f", b"x")
    assert (caught.value.code, caught.value.outcome) == ("internal", "unknown")


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "$.results"),
        ({"results": {}}, "$.results"),
        ({"results": []}, "$.results"),
        ({"results": [DONE, DONE]}, "$.results"),
        ({"results": [7]}, "$.results[0]"),
        ({"results": [{"complete": "true"}]}, "$.results[0].complete"),
        ({"results": [{"ranges": [{"start": 0}]}]}, "$.results[0].ranges[0].end"),
        ({"results": [{"error": "no"}]}, "$.results[0].error"),
        ({"results": [{"error": {"code": "x"}}]}, "$.results[0].error.message"),
    ],
)
async def test_bad_replies_to_writes(server: ScriptedServer, vm: AsyncVM, payload: dict[str, Any], path: str) -> None:
    server.script(ok(payload))
    with pytest.raises(BadReplyError) as caught:
        await vm.sync("f", b"x")
    assert caught.value.path == path


# --- writing by a presigned PUT --------------------------------------------------------------------------------------


async def test_write_presigned(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(presigned_write(other_server), wrote())
    other_server.script(Reply())
    await vm.sync("/f", BIG)
    request, commit = server.requests
    assert (request.target, commit.target) == (SYNC, SYNC)
    assert request.json == {"op": "write", "writes": [{"path": "/f", "size": len(BIG), "presigned": True}]}
    digest = hashlib.sha256(BIG).hexdigest()
    entry = {"path": "/f", "size": len(BIG), "upload_id": "up-1", "sha256": digest}
    assert commit.json == {"op": "write", "writes": [entry]}
    put = other_server.last
    assert (put.method, put.target) == ("PUT", f"/bucket/o%2F1?X-Signature={SIGNATURE}%3D&x=%20")
    assert put.body == BIG
    assert put.headers.getall("Content-Length") == [str(len(BIG))]
    assert "Transfer-Encoding" not in put.headers
    assert "Content-Type" not in put.headers
    check_unauthorized(put)


@pytest.mark.parametrize(
    "failure",
    [
        *(Reply(status=status) for status in (429, 502, 503, 504)),
        dropped(Drop.BEFORE_READING),
        dropped(Drop.AFTER_PROCESSING),
        dropped(Drop.RESET),
    ],
)
async def test_a_put_is_repeated(server: ScriptedServer, vm: AsyncVM, failure: Reply) -> None:
    server.script(presigned_write(server), failure, failure, Reply(status=201), wrote())
    await vm.sync("/f", BIG)
    assert server.requests[-2].body == BIG
    assert len(server.requests) == 5


async def test_a_store_that_is_the_server_says_what_it_lacks(server: ScriptedServer) -> None:
    full = Reply(status=503, body=b'{"code":"resource_pressure","message":"the server\'s disk is full, or so"}')
    telling = Reply(status=503, body=f'{{"code":"resource_pressure","message":"no {SIGNATURE}"}}'.encode())
    async with make_client(server, retry=False) as client:
        for reply, message in (
            (full, "the server's disk is full, or so"),
            (telling, "the object store answered HTTP 503"),
        ):
            server.script(presigned_write(server), reply)
            with pytest.raises((ResourcePressureError, UnavailableError)) as caught:
                await client.vm("vm-1").sync("/f", BIG)
            assert caught.value.message == message
            assert caught.value.outcome == "not_started"
            assert isinstance(caught.value, ResourcePressureError) == (reply is full)


@pytest.mark.parametrize("status", [301, 400, 404, 411, 500])
async def test_a_put_that_is_refused(server: ScriptedServer, vm: AsyncVM, status: int) -> None:
    server.script(presigned_write(server), Reply(status=status, headers={"Location": "/elsewhere"}))
    with pytest.raises(InternalError if status not in (404,) else NotFoundError) as caught:
        await vm.sync("/f", BIG)
    assert caught.value.status == status
    assert len(server.requests) == 2


async def test_an_expired_put_is_renewed(server: ScriptedServer, vm: AsyncVM) -> None:
    gone = Reply(status=403)
    server.script(
        *(presigned_write(server, "old"), gone, presigned_write(server, "older"), gone),
        *(presigned_write(server, "new"), Reply(), wrote()),
    )
    await vm.sync("/f", BIG)
    assert server.last.json["writes"][0]["upload_id"] == "new"
    server.script(*(reply for _ in range(3) for reply in (presigned_write(server), gone)))
    with pytest.raises(ForbiddenError):
        await vm.sync("/f", BIG)


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        ([error("forbidden", status=403)], ForbiddenError),
        ([partial(presigned_write, method="POST")], BadReplyError),
        ([partial(presigned_write, presigned_url="nowhere")], BadReplyError),
        ([partial(presigned_write, upload_id=None)], BadReplyError),
        ([presigned_write, Reply(), wrote(complete=False)], InternalError),
        (
            [
                presigned_write,
                Reply(),
                ok({"results": [{"error": {"code": "bad_request", "message": "d"}}]}),
                error("forbidden", status=403),  # why it was refused is looked for in the VM
            ],
            BadRequestError,
        ),
        ([presigned_write, *[dropped(Drop.AFTER_PROCESSING)] * 4], NetworkError),
    ],
)
async def test_presigned_writes_that_fail(
    server: ScriptedServer, vm: AsyncVM, replies: list[Reply | Callable[[ScriptedServer], Reply]], kind: type[Exception]
) -> None:
    script: list[Reply | Script] = [reply if isinstance(reply, Reply) else reply(server) for reply in replies]
    server.script(*script)
    with pytest.raises(kind):
        await vm.sync("/f", BIG)
    assert len(server.requests) == len(replies)


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "\ud800", None, 7, b"/f"])
async def test_bad_paths(server: ScriptedServer, vm: AsyncVM, path: Any) -> None:
    for arguments in ((), (b"x",)):
        with pytest.raises(InvalidArgumentError) as caught:
            await vm.sync(path, *arguments)
        assert (caught.value.argument, caught.value.value) == ("path", path)
    assert not server.requests


@pytest.mark.parametrize("data", [None, "\ud800", 7, [1, 2], memoryview(b"abcd")[::2]])
async def test_bad_data(server: ScriptedServer, vm: AsyncVM, data: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.sync("/f", data)
    assert (caught.value.argument, caught.value.value) == ("data", data)
    assert not server.requests


@pytest.mark.parametrize("data", [Path("/f"), io.BytesIO(b"x")])
async def test_paths_and_files_are_for_upload(server: ScriptedServer, vm: AsyncVM, data: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"; vm\.upload takes paths and file objects"):
        await vm.sync("/f", data)
    assert not server.requests


async def test_a_bad_deadline(server: ScriptedServer, vm: AsyncVM) -> None:
    for arguments in ((), (b"x",)):
        with pytest.raises(InvalidArgumentError):
            await vm.sync("/f", *arguments, deadline=0)
    assert not server.requests


async def test_files_without_retries(server: ScriptedServer) -> None:
    async with make_client(server, retry=False) as client:
        server.script(presigned_read(server, 2), Reply(status=503))
        with pytest.raises(UnavailableError):
            await client.vm("vm-1").sync("/f")


async def test_an_object_store_s_retry_after_is_heeded(server: ScriptedServer, vm: AsyncVM) -> None:
    url = f"{server.url}/object"
    server.script(ok({"path": "f", "size": 2, "presigned_url": url, "expires_in": 9}))
    server.script(Reply(status=503, headers={"Retry-After": "3600"}))
    with pytest.raises(UnavailableError) as caught:
        await vm.sync("f")
    assert caught.value.retry_after == 3600
    assert caught.value.outcome == "not_started"


async def test_a_file_read_never_has_an_effect(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"neither": 1}))
    with pytest.raises(BadReplyError) as caught:
        await vm.sync("f")
    assert caught.value.outcome == "not_started"
