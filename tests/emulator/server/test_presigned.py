"""Presigned PUT and GET (contract, sections 6 and 7)."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anyio
import pytest
from yarl import URL

from arker.emulator import EmulatorOptions
from tests.emulator.server.support import ISOLATION, Api, new_ulid, output
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

SIZE = 5_000_000


async def request_put(api: Api, vm: str, path: str, size: int) -> dict[str, Any]:
    (result,) = await api.write(vm, {"path": path, "size": size, "presigned": True})
    assert set(result) == {
        "path", "size", "presigned_url", "upload_id", "expires_in", "method", "complete", "written",
    }  # fmt: skip
    assert (result["method"], result["complete"], result["written"]) == ("PUT", False, False)
    return result


async def commit(api: Api, vm: str, granted: dict[str, Any], **fields: Any) -> dict[str, Any]:
    entry = {"path": granted["path"], "size": granted["size"], "upload_id": granted["upload_id"], **fields}
    (result,) = await api.write(vm, entry)
    return result


async def put(api: Api, url: str, data: Any, **headers: str) -> int:
    return (await api.raw("PUT", url, data=data, headers=headers)).status


async def read_url(api: Api, vm: str, path: str = "big") -> str:
    await api.run(vm, f"head -c {SIZE} /dev/urandom > {path}")
    return str((await api.read(vm, path))["presigned_url"])


async def test_put_then_commit_then_get(api: Api, vm: str) -> None:
    data = os.urandom(SIZE)
    digest = hashlib.sha256(data).hexdigest()
    granted = await request_put(api, vm, "deep/down/file", SIZE)
    early = await commit(api, vm, granted)
    assert early["error"]["code"] == "bad_request"
    assert await put(api, granted["presigned_url"], data) == 200
    assert (await api.sync(vm, {"op": "read", "path": "deep/down/file"})).status == 404
    wrong = await commit(api, vm, granted, sha256="0" * 64)
    assert (wrong["error"]["code"], wrong["written"]) == ("bad_request", False)
    result = await commit(api, vm, granted, sha256=digest)
    assert result == {"path": "deep/down/file", "size": SIZE, "complete": True, "written": True}
    assert output(await api.run(vm, "sha256sum < deep/down/file")).split()[0].decode() == digest
    # A lost answer: the commit may come again, and does nothing the second time.
    await api.run(vm, "echo changed > deep/down/file")
    assert await commit(api, vm, granted, sha256=digest) == result
    assert output(await api.read(vm, "deep/down/file"), "content") == b"changed\n"


async def test_the_last_complete_put_counts(api: Api, vm: str) -> None:
    granted = await request_put(api, vm, "twice", 3)
    assert await put(api, granted["presigned_url"], b"one") == 200
    assert await put(api, granted["presigned_url"], b"two") == 200
    assert (await commit(api, vm, granted))["written"] is True
    assert output(await api.read(vm, "twice"), "content") == b"two"


async def test_an_empty_file_can_be_put(api: Api, vm: str) -> None:
    granted = await request_put(api, vm, "empty", 0)
    assert await put(api, granted["presigned_url"], b"", **{"Content-Length": "0"}) == 200
    assert (await commit(api, vm, granted))["written"] is True
    assert (await api.read(vm, "empty"))["size"] == 0


async def test_a_put_needs_the_right_content_length(api: Api, vm: str) -> None:
    granted = await request_put(api, vm, "file", 3)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"

    assert await put(api, granted["presigned_url"], pieces()) == 411
    assert await put(api, granted["presigned_url"], b"four") == 400
    assert (await commit(api, vm, granted))["error"]["code"] == "bad_request"


async def test_an_interrupted_put_leaves_nothing(api: Api, vm: str) -> None:
    granted = await request_put(api, vm, "file", SIZE)

    async def stalling() -> AsyncIterator[bytes]:
        yield bytes(SIZE - 1)
        await anyio.sleep(60)

    with anyio.move_on_after(0.3):
        await put(api, granted["presigned_url"], stalling(), **{"Content-Length": str(SIZE)})
    assert (await commit(api, vm, granted))["error"]["code"] == "bad_request"
    assert await put(api, granted["presigned_url"], bytes(SIZE)) == 200
    assert (await commit(api, vm, granted))["written"] is True


async def test_a_compressed_body_is_not_taken_for_the_file(api: Api, vm: str) -> None:
    packed = gzip.compress(b"x" * 1000)
    granted = await request_put(api, vm, "file", len(packed))
    assert await put(api, granted["presigned_url"], packed, **{"Content-Encoding": "gzip"}) == 400
    assert (await commit(api, vm, granted))["error"]["code"] == "bad_request"


async def test_a_file_that_is_cut_off_while_it_is_sent_breaks_the_connection(api: Api, vm: str) -> None:
    await api.run(vm, "truncate -s 300M big")
    url = (await api.read(vm, "big"))["presigned_url"]
    async with api.session.get(URL(url, encoded=True)) as response:
        assert response.status == 200
        await api.run(vm, "truncate -s 1M big")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_commit_belongs_to_its_upload(api: Api, vm: str) -> None:
    granted = await request_put(api, vm, "file", 3)
    await put(api, granted["presigned_url"], b"one")
    assert (await commit(api, vm, granted, path="other"))["error"]["code"] == "bad_request"
    assert (await commit(api, vm, granted, size=4))["error"]["code"] == "bad_request"
    assert (await commit(api, vm, granted, upload_id=new_ulid()))["error"]["code"] == "not_found"
    second = (await api.fork())["vm_id"]
    assert (await commit(api, second, granted))["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("header", "status", "span"),
    [
        ("bytes=0-9", 206, (0, 10)),
        ("bytes=4999990-", 206, (SIZE - 10, SIZE)),
        ("bytes=-5", 206, (SIZE - 5, SIZE)),
        ("bytes=10-99999999", 206, (10, SIZE)),
        ("bytes=-99999999", 206, (0, SIZE)),
        ("bytes=5000000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-3", 200, (0, SIZE)),
        ("bytes=0-1,5-6", 200, (0, SIZE)),
        ("lines=0-1", 200, (0, SIZE)),
    ],
)
async def test_ranges(api: Api, vm: str, header: str, status: int, span: tuple[int, int] | None) -> None:
    url = await read_url(api, vm)
    whole = (await api.raw("GET", url)).content
    assert len(whole) == SIZE
    reply = await api.raw("GET", url, headers={"Range": header})
    assert reply.status == status
    if span is None:
        assert reply.headers["Content-Range"] == f"bytes */{SIZE}"
        return
    assert reply.content == whole[slice(*span)]
    assert reply.headers["Content-Length"] == str(span[1] - span[0])
    if status == 206:
        assert reply.headers["Content-Range"] == f"bytes {span[0]}-{span[1] - 1}/{SIZE}"


async def test_a_download_is_not_continued_in_another_version_of_the_file(api: Api, vm: str) -> None:
    url = await read_url(api, vm)
    tag = (await api.raw("GET", url)).headers["ETag"]
    same = await api.raw("GET", url, headers={"Range": "bytes=5-9", "If-Range": tag, "If-Match": tag})
    assert same.status == 206
    await api.run(vm, "printf more >> big")
    assert (await api.raw("GET", url, headers={"Range": "bytes=5-9", "If-Range": tag})).status == 200
    assert (await api.raw("GET", url, headers={"If-Match": tag})).status == 412


async def test_a_url_is_for_one_method_and_one_file(api: Api, vm: str) -> None:
    get = await read_url(api, vm)
    granted = await request_put(api, vm, "file", 3)
    forbidden = (403, "forbidden")
    assert (await api.raw("PUT", get, data=b"one")).refusal == forbidden
    assert (await api.raw("GET", granted["presigned_url"])).refusal == forbidden
    head, _, signature = get.rpartition("=")
    flipped = "0" if signature[0] != "0" else "1"
    other_grant = granted["presigned_url"].partition("grant=")[2].partition("&")[0]
    own_grant = get.partition("grant=")[2].partition("&")[0]
    for url in (
        f"{head}={flipped}{signature[1:]}",
        f"{head}=",
        get.partition("?")[0],
        get.replace(own_grant, other_grant),
        get.replace(own_grant, own_grant[:-2]),
        get.replace(vm, "0" * 26),
        get + "%C3%A9",
    ):
        assert (await api.raw("GET", url)).refusal == forbidden, url


async def test_the_url_of_a_deleted_vm_is_dead(api: Api, vm: str) -> None:
    get = await read_url(api, vm)
    granted = await request_put(api, vm, "file", 3)
    await api.delete(vm)
    assert (await api.raw("GET", get)).refusal == (404, "not_found")
    assert (await api.raw("PUT", granted["presigned_url"], data=b"one")).refusal == (404, "not_found")


async def test_a_url_dies_after_its_time() -> None:
    options = EmulatorOptions(isolation=ISOLATION, presigned_ttl=30.5)
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vm = str((await api.fork())["vm_id"])
        granted = await request_put(api, vm, "file", 3)
        assert granted["expires_in"] == 30.5
        get = await read_url(api, vm)
        assert (await api.raw("GET", get)).status == 200
        assert await put(api, granted["presigned_url"], b"one") == 200
        emulator.clock.shift(30.5)
        assert (await api.raw("GET", get)).refusal == (403, "forbidden")
        assert (await api.raw("PUT", granted["presigned_url"], data=b"two")).refusal == (403, "forbidden")
        # What has arrived can still be put into place.
        assert (await commit(api, vm, granted))["written"] is True


async def test_a_server_without_presigned_urls() -> None:
    options = EmulatorOptions(isolation=ISOLATION, presigned=False)
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vm = str((await api.fork())["vm_id"])
        (result,) = await api.write(vm, {"path": "file", "size": SIZE, "presigned": True})
        assert (result["error"]["code"], result["written"]) == ("unsupported_operation", False)
        assert (await api.run(vm, f"head -c {SIZE} /dev/zero > file"))["exit_code"] == 0
        # Whatever its size, a file is read inline.
        assert output(await api.read(vm, "file"), "content") == bytes(SIZE)
