"""Replies without end, or larger than they say: they are refused before they fill the memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadReplyError,
    NetworkError,
    NotFoundError,
)
from arker._transport.http.replies import MAX_REPLY
from tests.support.length import cases
from tests.support.samples import completed
from tests.support.secrets import API_KEY, SIGNATURE
from tests.support.server import Reply, ScriptedServer, ServerThread, ok
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent


MIB = 1024 * 1024


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a GiB: announced, in chunks, or compressed, depending on the path."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        zeros = bytes(MIB)
        begin, piece = b"", zeros
        if b"/announced/" in head:
            headers = f"Content-Length: {1024 * MIB}"
        elif b"/stalled/" in head:
            headers, piece = f"Content-Length: {1024 * MIB}", b""
        elif b"/compressed/" in head:
            deflate = zlib.compressobj(wbits=-15)
            # After a full flush, each MiB is compressed to the same bytes, and they can follow one another.
            piece = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
            begin = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
            headers = f"Content-Encoding: gzip\r\nContent-Length: {len(begin) + 1024 * len(piece)}"
        else:
            headers = "Transfer-Encoding: chunked"
            piece = b"%x\r\n%s\r\n" % (MIB, zeros)
        writer.write(f"HTTP/1.1 200 OK\r\nX-Request-Id: r-{API_KEY}\r\n{headers}\r\n\r\n".encode())
        writer.write(begin)
        for _ in range(1024 if piece else 0):
            writer.write(piece)
            await writer.drain()
        await reader.read()  # until the client closes the connection
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # as it should
    finally:
        writer.close()


@pytest.fixture
def endless_url(server_thread: ServerThread) -> Iterator[str]:
    async def start() -> asyncio.Server:
        return await asyncio.start_server(endless, "127.0.0.1", 0)

    async def stop() -> None:
        listener.close()

    listener = server_thread.call(start())
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    server_thread.call(stop())


PROGRAM: Final = """
import asyncio, resource, sys
from arker import AsyncArker, BadReplyError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def main():
    async with AsyncArker("k", base_url=sys.argv[3]) as client:
        try:
            await client.get_vm("warm-up")
        except BadReplyError:
            pass
    before = peak()
    async with AsyncArker("k", base_url=sys.argv[1] + "/" + sys.argv[2]) as client:
        try:
            await client.get_vm("v")
        except BadReplyError as error:
            print(error.attempts, peak() - before, error.message)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("kind", "most"), cases([("announced", 16), ("compressed", 400)], rest=[("stalled", 16), ("chunked", 400)])
)
async def test_a_reply_without_end_is_refused(server: ScriptedServer, endless_url: str, kind: str, most: int) -> None:
    """The memory that it takes is bounded: next to none when the size is announced, else about the bound itself."""
    server.script(ok({}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, endless_url, kind, server.url, cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 5 * PATIENCE)
    except asyncio.TimeoutError:
        process.kill()
        await process.communicate()
        raise
    attempts, grown, message = output.decode().strip().split(" ", 2)
    assert (process.returncode, attempts) == (0, "1")
    assert message.startswith(f"the reply is larger than {MAX_REPLY} bytes (256 MiB): ")
    assert int(grown) < most
    size = int(message.removesuffix(" bytes or more").rpartition(" ")[2])
    assert size == 1024 * MIB if most == 16 else MAX_REPLY < size <= MAX_REPLY + 64 * MIB


@pytest.mark.parametrize("kind", ["stalled", "announced"])
async def test_the_refusal_says_what_is_known(endless_url: str, kind: str) -> None:
    async with AsyncArker(API_KEY, base_url=f"{endless_url}/{kind}") as client:
        with pytest.raises(BadReplyError) as caught:
            await client.vm("v").run("x")
    raised = caught.value
    # The server has answered, so the command was run.
    assert (raised.status, raised.outcome, raised.attempts) == (200, "applied", 1)
    assert (raised.vm_id, raised.request_id, raised.operation) == ("v", "r-[redacted]", "vm.run")


async def test_a_reply_in_many_pieces_is_read(server: ScriptedServer, vm: AsyncVM) -> None:
    text = "x" * (5 * MIB)
    body = json.dumps(completed(text)).encode()
    packed = zlib.compressobj(wbits=31)
    server.script(
        Reply(body=body),
        Reply(body=body, chunked=True),
        Reply(body=packed.compress(body) + packed.flush(), headers={"Content-Encoding": "gzip"}),
    )
    for _ in range(3):
        assert (await vm.run("x")).stdout_text == text
    assert server.connections == 1


async def test_an_object_that_is_larger_than_said(
    server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM
) -> None:
    server.answer(ok({"path": "f", "size": 2, "presigned_url": f"{other_server.url}/o", "expires_in": 9}))
    for chunked in (False, True):
        other_server.script(*[Reply(body=bytes(10 * MIB), chunked=chunked)] * 4)
        with pytest.raises(NetworkError, match="gave more than the 2 bytes of the file"):
            await vm.sync("f")


@pytest.mark.parametrize("chunked", [False, True])
async def test_of_an_object_store_s_error_only_the_beginning_is_read(
    server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM, chunked: bool
) -> None:
    server.script(ok({"path": "f", "size": 2, "presigned_url": f"{other_server.url}/o", "expires_in": 9}))
    body = b"<Error><Code>NoSuchKey</Code>" + SIGNATURE.encode() * MIB
    other_server.script(Reply(status=404, body=body, chunked=chunked))
    with pytest.raises(NotFoundError, match="the object store answered HTTP 404: NoSuchKey") as caught:
        await vm.sync("f")
    assert SIGNATURE not in str(caught.value)
