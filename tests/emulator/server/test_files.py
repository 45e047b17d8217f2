"""``/sync``: reading files, and writing them in chunks (contract, section 6)."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import anyio
import pytest

from arker.models import CHUNK_SIZE
from tests.emulator.server.support import Api, chunk, new_ulid, output

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("data", "encoding"),
    [(b"", "utf8"), (b"text \xc3\xa9\n", "utf8"), (bytes(range(256)), "base64"), (b"\0" * 200_000, "base64")],
)
async def test_a_file_comes_back_as_it_was_written(api: Api, vm: str, data: bytes, encoding: str) -> None:
    path = "/home/user/new/dir/file"
    (result,) = await api.write(vm, chunk(path, data, sha256=hashlib.sha256(data).hexdigest()))
    assert result == {
        "path": path,
        "size": len(data),
        "received_bytes": len(data),
        "ranges": [{"start": 0, "end": len(data)}],
        "complete": True,
        "written": True,
    }
    reply = await api.read(vm, path)
    assert (reply["path"], reply["size"], reply["encoding"]) == (path, len(data), encoding)
    assert output(reply, "content") == data


async def test_files_and_commands_see_the_same_tree(api: Api, vm: str) -> None:
    await api.write(vm, chunk("relative.txt", b"from outside"))
    assert output(await api.run(vm, "cat relative.txt")) == b"from outside"
    await api.run(vm, "echo from inside > other.txt")
    assert output(await api.read(vm, "/home/user/other.txt"), "content") == b"from inside\n"


async def test_the_largest_inline_file_and_one_byte_more(api: Api, vm: str) -> None:
    data = os.urandom(CHUNK_SIZE)
    await api.write(vm, chunk("big", data))
    reply = await api.read(vm, "big")
    assert output(reply, "content") == data
    await api.run(vm, "printf x >> big")
    reply = await api.read(vm, "big")
    assert set(reply) == {"ok", "op", "path", "size", "presigned_url", "expires_in", "method"}
    assert (reply["size"], reply["method"]) == (CHUNK_SIZE + 1, "GET")
    got = await api.raw("GET", reply["presigned_url"])
    assert got.content == data + b"x"


async def test_reading_what_is_no_file(api: Api, vm: str) -> None:
    assert (await api.sync(vm, {"op": "read", "path": "missing"})).refusal == (404, "not_found")
    directory = await api.sync(vm, {"op": "read", "path": "/home/user"})
    assert directory.status == 400
    for body in ({"op": "read"}, {"op": "read", "path": ""}, {"op": "read", "path": 1}, {"op": "list"}, {}):
        assert (await api.sync(vm, body)).refusal == (400, "bad_request")
    assert (await api.sync("none", {"op": "read", "path": "x"})).refusal == (404, "not_found")


async def test_chunks_in_any_order_and_more_than_once(api: Api, vm: str) -> None:
    data = os.urandom(2_500_000)
    shared: dict[str, Any] = {"size": len(data), "upload_id": new_ulid(), "sha256": hashlib.sha256(data).hexdigest()}

    def part(start: int, end: int) -> dict[str, Any]:
        return chunk("parts", data[start:end], start=start, end=end, **shared)

    (result,) = await api.write(vm, part(2_000_000, 2_500_000))
    assert result["ranges"] == [{"start": 2_000_000, "end": 2_500_000}]
    assert (result["received_bytes"], result["complete"], result["written"]) == (500_000, False, False)
    (result,) = await api.write(vm, part(0, 1_000_000))
    assert result["received_bytes"] == 1_500_000
    (again,) = await api.write(vm, part(0, 1_000_000))
    assert again == result
    assert (await api.sync(vm, {"op": "read", "path": "parts"})).refusal == (404, "not_found")
    (result,) = await api.write(vm, part(900_000, 2_100_000))
    assert (result["ranges"], result["complete"], result["written"]) == (
        [{"start": 0, "end": len(data)}],
        True,
        True,
    )
    assert output(await api.read(vm, "parts"), "content") == data
    # A repeated last chunk is answered, and does not undo what has happened to the file since.
    await api.run(vm, "echo changed > parts")
    (again,) = await api.write(vm, part(900_000, 2_100_000))
    assert again == result
    assert output(await api.read(vm, "parts"), "content") == b"changed\n"


async def test_chunks_in_flight_together(api: Api, vm: str) -> None:
    data = os.urandom(8 * 300_000)
    shared: dict[str, Any] = {"size": len(data), "upload_id": new_ulid()}
    done: list[bool] = []

    async def send(index: int) -> None:
        start = index * 300_000
        (result,) = await api.write(
            vm, chunk("many", data[start : start + 300_000], start=start, end=start + 300_000, **shared)
        )
        done.append(result["written"])

    await send(0)
    async with anyio.create_task_group() as group:
        for index in range(1, 8):
            group.start_soon(send, index)
    assert sorted(done) == [False] * 7 + [True]
    assert output(await api.read(vm, "many"), "content") == data


async def test_a_wrong_digest_is_an_error_of_the_entry_and_nothing_is_written(api: Api, vm: str) -> None:
    wrong = hashlib.sha256(b"other").hexdigest()
    good = chunk("good", b"data")
    results = await api.write(vm, chunk("bad", b"data", sha256=wrong), good)
    assert results[0]["error"]["code"] == "bad_request"
    assert "sha256" in results[0]["error"]["message"]
    assert (results[0]["path"], results[0]["written"]) == ("bad", False)
    assert results[1]["written"] is True
    assert (await api.sync(vm, {"op": "read", "path": "bad"})).refusal == (404, "not_found")
    # The same upload may start again.
    (result,) = await api.write(vm, chunk("bad", b"data", upload_id=good["upload_id"]))
    assert "error" in result


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"path": ""}, "path"),
        ({"path": "a\0b"}, "path"),
        ({"size": -1}, "size"),
        ({"size": "4"}, "size"),
        ({"size": 6 * 1024**3}, "size"),
        ({"upload_id": "long" * 33}, "upload_id"),
        ({"upload_id": None}, "upload_id"),
        ({"content": "data!"}, "content"),
        ({"content": "AAA"}, "content"),
        ({"content": 7}, "content"),
        ({"content": base64.b64encode(b"longer").decode()}, "content"),
        ({"start": 1}, "content"),
        ({"end": 5}, "start, end"),
        ({"start": 4}, "start, end"),
        ({"sha256": "ABC"}, "sha256"),
    ],
)
async def test_a_bad_entry_is_named_and_harms_no_other(api: Api, vm: str, fields: dict[str, Any], named: str) -> None:
    bad, good = await api.write(vm, chunk("bad", b"data") | fields, chunk("good", b"data"))
    assert bad["error"]["code"] == "bad_request"
    assert bad["error"]["message"].startswith(f"writes[0].{named}")
    assert (bad["complete"], bad["written"]) == (False, False)
    assert good["written"] is True


async def test_entries_that_are_no_objects(api: Api, vm: str) -> None:
    for result in await api.write(vm, None, "x", []):
        assert result["error"]["code"] == "bad_request"
    assert (await api.sync(vm, {"op": "write"})).refusal == (400, "bad_request")
    assert (await api.sync(vm, {"op": "write", "writes": {}})).refusal == (400, "bad_request")


async def test_an_upload_id_belongs_to_one_file(api: Api, vm: str) -> None:
    entry = chunk("one", b"ab", size=4, end=2)
    await api.write(vm, entry)
    for fields in ({"path": "two"}, {"size": 5}):
        (result,) = await api.write(vm, entry | fields)
        assert result["error"]["code"] == "bad_request"
    second = (await api.fork())["vm_id"]
    (result,) = await api.write(second, entry | {"path": "two"})
    assert result["received_bytes"] == 2


async def test_many_small_files_in_one_request_and_their_order(api: Api, vm: str) -> None:
    entries = [chunk(f"dir/{index % 250}", str(index).encode()) for index in range(500)]
    results = await api.write(vm, *entries)
    assert [result["path"] for result in results] == [entry["path"] for entry in entries]
    assert all(result["written"] for result in results)
    listed = output(await api.run(vm, "cd dir && cat $(seq 0 249) | wc -c; cat 0 249"))
    assert listed.split() == [b"750", b"250499"]


async def test_one_request_has_so_many_entries_at_most(api: Api, vm: str) -> None:
    too_many = await api.sync(vm, {"op": "write", "writes": [chunk("x", b"")] * 501})
    assert too_many.refusal == (413, "payload_too_large")
