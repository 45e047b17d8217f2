"""Requests that HTTP does not allow, or the server does not understand: each gets an error of the contract."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import pytest

from arker.emulator import Emulator, EmulatorOptions
from arker.emulator.options import GenerationName
from arker.emulator.server.answers import MAX_BODY
from tests.emulator.server.conformance import conform
from tests.emulator.server.support import Api
from tests.support.forked import ForkedEmulator
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

SECRET: Final = "S3CRET-part-of-the-request"
WHOLE: Final = b"Content-Length: 2\r\n\r\n{}"

MALFORMED: Final[dict[str, bytes]] = {
    "no HTTP": b"garbage\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version": b"GET /api/v1/vms HTTP/3.x\r\nHost: x\r\n\r\n",
    "method": b"FOO /api/v1/vms HTTP/1.1\r\nHost: x\r\n\r\n",
    "method's letters": b"G@T /api/v1/vms HTTP/1.1\r\nHost: x\r\n\r\n",
    "path": b"GET api HTTP/1.1\r\nHost: x\r\n\r\n",
    "long line": b"GET /api/v1/vms?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long field": b"GET /api/v1/vms HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "field's name": b"GET /api/v1/vms HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
    "field's value": b"GET /api/v1/vms HTTP/1.1\r\nHost: x\r\nX: S3CRET-part-of-the-request \0\r\n\r\n",
    "chunk's size": b"POST /api/v1/fork HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk's end": b"POST /api/v1/fork HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
    "transfer coding": b"POST /api/v1/fork HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: foo\r\n\r\n{}",
    "two lengths": b"POST /api/v1/fork HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n" + WHOLE,
    "negative length": b"POST /api/v1/fork HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}",
    "length and chunks": b"POST /api/v1/fork HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + WHOLE,
    "expectation": b"GET /api/v1/vms HTTP/1.1\r\nHost: x\r\nExpect: foo\r\n\r\n",
    "expectation, one of two": b"GET /api/v1/vms HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nExpect: foo\r\n\r\n",
    "expectation, elsewhere": b"GET /api/v1/none HTTP/1.1\r\nHost: x\r\nExpect: foo\r\n\r\n",
}


async def say(emulator: Emulator, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and return the status, the header fields and the body of what comes back."""
    parts = urlsplit(emulator.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
        status, *lines = head.strip().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await asyncio.wait_for(reader.readexactly(int(fields["content-length"])), PATIENCE)
        return int(status.split()[1]), fields, body
    finally:
        writer.close()


def check(status: int, fields: dict[str, str], body: bytes, generation: GenerationName = "both") -> None:
    assert fields["content-type"] == "application/json"
    error = json.loads(body)
    if generation != "0.5":
        assert error.keys() == {"error"}
        error = error["error"]
        assert error["request_id"] == fields["x-request-id"]
        assert error["timestamp"]
        assert error["request"] in ({"kind": "unmatched", "method": "GET"}, {"kind": "unmatched", "method": "POST"})
    assert (status, error["code"]) in ((400, "bad_request"), (417, "bad_request"))
    assert error["message"]
    assert SECRET.encode() not in body


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request(emulator: Emulator, api: Api, name: str) -> None:
    status, fields, body = await say(emulator, MALFORMED[name])
    check(status, fields, body)
    assert (status == 417) is name.startswith("expectation")
    if status == 400:
        conform("GET", "/v1/vms", status, body, "both")
    assert await api.get("/v1/vms") is not None  # it goes on serving


@pytest.mark.parametrize("generation", ["0.5", "1"])
async def test_in_either_generation(generation: GenerationName) -> None:
    async with ForkedEmulator(EmulatorOptions(isolation="none", generation=generation)) as emulator:
        for request in (MALFORMED["no HTTP"], MALFORMED["expectation"]):
            check(*await say(emulator, request), generation)


@pytest.mark.parametrize("coding", ["foo", "x-gzip", "gzip, foo", "br", "zstd", "br;q=1"])
async def test_a_content_coding_that_is_not_known(api: Api, coding: str) -> None:
    reply = await api.call("POST", "/v1/fork", b'{"source_vm_name": "ubuntu"}', headers={"Content-Encoding": coding})
    assert reply.refusal == (400, "bad_request")
    assert reply.message == "Content-Encoding: expected gzip, deflate or identity"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_that_is_not_coded_as_it_says(api: Api, coding: str) -> None:
    reply = await api.call("POST", "/v1/fork", b'{"source_vm_name": "ubuntu"}', headers={"Content-Encoding": coding})
    assert reply.refusal == (400, "bad_request")
    assert reply.message == f"the body is not {coding}, as Content-Encoding says, or lacks its end"


FORK: Final = json.dumps({"source_vm_name": "ubuntu"}).encode()
READ: Final[dict[str, tuple[str, bytes]]] = {
    "identity": ("identity", FORK),
    "gzip": ("gzip", gzip.compress(FORK)),
    "gzip in two members": ("GZip", gzip.compress(FORK[:9]) + gzip.compress(FORK[9:])),
    "deflate": ("deflate", zlib.compress(FORK)),
    "deflate without zlib's header and checksum": ("deflate", zlib.compress(FORK)[2:-4]),  # as some programs send it
}
CUT: Final[dict[str, tuple[str, bytes]]] = {
    "gzip without its trailer": ("gzip", gzip.compress(FORK)[:-8]),
    "gzip without its last byte": ("gzip", gzip.compress(FORK)[:-1]),
    "gzip with another checksum": ("gzip", gzip.compress(FORK)[:-8] + bytes(8)),
    "gzip with half a member": ("gzip", gzip.compress(FORK) + gzip.compress(b" ")[:-1]),
    "gzip and more": ("gzip", gzip.compress(FORK) + b"more"),
    "deflate without its last byte": ("deflate", zlib.compress(FORK)[:-1]),
    "deflate and more": ("deflate", zlib.compress(FORK) + b"more"),
}


async def test_two_content_codings(emulator: Emulator, api: Api) -> None:
    """Neither of them is what the body as a whole is coded by."""
    for codings in (("identity", "gzip"), ("gzip", "identity")):
        head = f"POST /api/v1/fork HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\n"
        fields = "".join(f"Content-Encoding: {coding}\r\n" for coding in codings) + f"Content-Length: {len(FORK)}\r\n"
        status, _, body = await say(emulator, f"{head}{fields}\r\n".encode() + FORK)
        assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("name", READ)
async def test_content_codings_that_are_read(api: Api, name: str) -> None:
    coding, coded = READ[name]
    assert (await api.call("POST", "/v1/fork", coded, headers={"Content-Encoding": coding})).status == 200


@pytest.mark.parametrize("name", CUT)
async def test_a_coded_body_without_its_end(api: Api, name: str) -> None:
    coding, coded = CUT[name]
    reply = await api.call("POST", "/v1/fork", coded, headers={"Content-Encoding": coding})
    assert reply.refusal == (400, "bad_request")
    assert reply.message.endswith("or lacks its end")


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_body_that_is_decoded_to_more_than_is_taken(
    api: Api, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    for body, status in ((FORK.ljust(MAX_BODY), 200), (FORK.ljust(MAX_BODY + 1), 413)):
        reply = await api.call("POST", "/v1/fork", compress(body), headers={"Content-Encoding": coding})
        assert reply.status == status
    assert reply.code == "payload_too_large"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND"])
async def test_a_method_that_the_path_does_not_have(emulator: Emulator, api: Api, method: str) -> None:
    reply = await api.raw(method, f"{emulator.url}/v1/vms", headers={"Authorization": f"Bearer {api.key}"})
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET"
    if method != "HEAD":
        assert reply.code == "method_not_allowed"
        declared = method if method != "PROPFIND" else "GET"
        assert reply.json["error"]["request"] == {"kind": "unmatched", "method": declared}


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
async def test_an_upgrade_of_what_is_no_socket_is_answered_as_without(
    emulator: Emulator, api: Api, upgrade: str
) -> None:
    headers = {"Authorization": f"Bearer {api.key}", "Connection": "Upgrade", "Upgrade": upgrade}
    assert (await api.raw("GET", f"{emulator.url}/v1/vms", headers=headers)).status == 200
    reply = await api.raw("GET", f"{emulator.url}/v1/vms/none", headers=headers)
    assert reply.refusal == (404, "not_found")


@pytest.mark.parametrize("escape", ["%zz", "%", "%ff%fe", "%00"])
async def test_escapes_that_stand_for_nothing(emulator: Emulator, api: Api, escape: str) -> None:
    url = f"{emulator.url}/v1/vms/{escape}"
    reply = await api.raw("GET", url, headers={"Authorization": f"Bearer {api.key}"})
    assert reply.refusal == (404, "not_found")
