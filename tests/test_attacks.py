"""What a hostile or broken server, and hostile arguments, do not achieve (contract, sections 3 and 8)."""

from __future__ import annotations

import asyncio
import html
import inspect
import io
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    ConfigurationError,
    InternalError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
)
from arker._transport.http.replies import EXCERPT, MAX_REPLY
from arker._transport.redaction import Redactor
from tests.support.clients import make_client
from tests.support.length import cases
from tests.support.samples import completed
from tests.support.secrets import API_KEY, MARK, SIGNATURE, Detector
from tests.support.server import Reply, ScriptedServer, ServerThread, error, ok

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent
MIB = 1024 * 1024

# --- keys ------------------------------------------------------------------------------------------------------------

BAD_KEYS: Final = [
    f"{MARK}\nx",
    f"{MARK}\r\nX-Evil: 1",
    f"{MARK}\rx",
    f"{MARK}\0x",
    f"{MARK} x",
    f"{MARK}é",
    f"{MARK}\x7f",
]


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
def test_a_key_that_is_none_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        AsyncArker(key, base_url="https://h")
    assert MARK not in f"{caught.value}{caught.value!r}{vars(caught.value)}"
    if "\0" not in key:  # which no environment can hold
        for name in ("ARKER_API_KEY", "AUTH_KEY"):
            monkeypatch.setenv(name, key)
            with pytest.raises(InvalidArgumentError) as caught:
                AsyncArker(base_url="https://h")
            assert MARK not in f"{caught.value}{caught.value!r}{vars(caught.value)}"
            monkeypatch.delenv(name)


@pytest.mark.parametrize("key", ["", " ", "\n", "\t\r\n"], ids=ascii)
def test_an_empty_key_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="an API key is required"):
        AsyncArker(key, base_url="https://h")
    monkeypatch.setenv("ARKER_API_KEY", key)
    with pytest.raises(ConfigurationError, match="an API key is required"):
        AsyncArker(base_url="https://h")


# --- ids -------------------------------------------------------------------------------------------------------------

BENIGN: Final = "BENIGN7"
NO_IDS: Final = ["", " ", ".", "..", "a\0b", "\ud800"]
HOSTILE_IDS: Final = [
    "../../x",
    "/v1/fork",
    "a/../../b",
    "a/b?c#d",
    "?x=1",
    "#",
    "%2e%2e",
    "%2e%2e%2f",
    "%00",
    "..;/x",
    "\\..\\x",
    "a b",
    " .. ",
    "a\r\nX-Evil: 1",
    "a\tb\x7f\x1b[31m",
    "é/☃",
    "http://evil.example/",
    "//evil.example",
    "@evil.example",
    "x" * 2000,
]
OTHER_ARGUMENTS: Final[dict[str, Any]] = {
    "command": "x",
    "path": "f",
    "source": b"x",
    "target": io.BytesIO(),
    "files": [("f", "f")],
    "name": "n",
    "local": str(Path(__file__).parent / "typing"),
    "remote": "f",
    "filesystem_id": "fs",
    "vcpu_count": 1,
}


def is_id(name: str) -> bool:
    return name.endswith(("_id", "_key")) and name != "idempotency_key"


def required(function: Any) -> dict[str, Any]:
    """Return the required arguments of a method. One that is not listed here fails the test."""
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return {name: "other" if is_id(name) else OTHER_ARGUMENTS[name] for name in names if name != "self"}


def operations(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, function in inspect.getmembers(cls, inspect.iscoroutinefunction):
        if not name.startswith("_") and name != "aclose":
            yield name, function


def ways_with_ids() -> Iterator[tuple[type[Any], str, str]]:
    """Return every argument of every public method that takes an id, and the id of a handle itself."""
    for cls in (AsyncArker, AsyncVM):
        for name, function in operations(cls):
            for argument in inspect.signature(function).parameters:
                if is_id(argument):
                    yield cls, name, argument
    for name, _ in operations(AsyncVM):
        yield AsyncVM, name, "id of the handle"


WAYS: Final = list(ways_with_ids())
OF_TODAY: Final = {"update", "create_mount", "list_mounts", "delete_mount", "org_id", "pool_id"}
"""Methods and arguments of generation 1."""


def test_ways_are_found() -> None:
    found = {(cls.__name__, name, argument) for cls, name, argument in WAYS}
    assert len(found) > 30
    assert found >= {
        ("AsyncArker", "get_vm", "vm_id"),
        ("AsyncArker", "delete_filesystem", "filesystem_id"),
        ("AsyncVM", "get_run", "run_id"),
        ("AsyncVM", "delete_tunnel", "tunnel_key"),
        ("AsyncVM", "delete_sync", "sync_id"),
        ("AsyncVM", "get_session", "id of the handle"),
    }


async def asked_for(
    server: ScriptedServer, client: AsyncArker, way: tuple[type[Any], str, str], identifier: str
) -> str:
    """Return the target of the request that a method sends with this id."""
    server.requests.clear()
    cls, name, argument = way
    handle = identifier if argument == "id of the handle" else "vm-1"
    target = client if cls is AsyncArker else client.vm(handle)
    function = getattr(target, name)
    arguments = required(getattr(cls, name))
    if argument != "id of the handle":
        arguments[argument] = identifier
    if name == "fork" and cls is AsyncArker and not {"source_vm_id", "source"} & set(arguments):
        arguments["source"] = "ubuntu"
    if name in ("resize", "update"):
        arguments["vcpu_count"] = 1
    if name == "upload_many":
        arguments["files"] = [(b"x", "f")]

    async def ask() -> None:
        result = await function(**arguments)
        if name.endswith("_many"):  # which tells what became of each file, and raises nothing
            raise result[0].error

    with pytest.raises(NotFoundError) as caught:
        await ask()
    assert str(caught.value).isprintable()
    assert len(server.requests) == 1
    return server.last.target


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0].__name__}.{way[1]}({way[2]})")
async def test_no_id_leads_elsewhere(server: ScriptedServer, way: tuple[type[Any], str, str]) -> None:
    server.answer(error("not_found", status=404))
    async with make_client(server, generation="1" if {*way[1:]} & OF_TODAY else "0.5") as client:
        await follow(server, client, way)


async def follow(server: ScriptedServer, client: AsyncArker, way: tuple[type[Any], str, str]) -> None:
    benign = await asked_for(server, client, way, BENIGN)
    for hostile in HOSTILE_IDS:
        got = await asked_for(server, client, way, hostile)
        # Whole and encoded, in the same place; or in the body, where it is text like any other.
        assert got == benign.replace(BENIGN, quote(hostile, safe=""))
        assert "X-Evil" not in server.last.headers
    for none in NO_IDS:
        in_path = benign.partition("?")[0].count(BENIGN)
        if in_path or not none.strip():
            with pytest.raises(InvalidArgumentError):
                await asked_for(server, client, way, none)
            assert not server.requests


def keyed() -> Iterator[tuple[type[Any], str]]:
    for cls in (AsyncArker, AsyncVM):
        for name, function in operations(cls):
            if "idempotency_key" in inspect.signature(function).parameters:
                yield cls, name


@pytest.mark.parametrize("way", list(keyed()), ids=lambda way: f"{way[0].__name__}.{way[1]}")
async def test_no_idempotency_key_makes_a_header(
    server: ScriptedServer, client: AsyncArker, way: tuple[type[Any], str]
) -> None:
    cls, name = way
    for key in ("a\nX-Evil: 1", "a\r\nX-Evil: 1", "a\rb", "a\0b", " a", "a ", "é", "", "x" * 65):
        arguments = {**required(getattr(cls, name)), "idempotency_key": key}
        if cls is AsyncArker:
            arguments["source"] = "ubuntu"
        with pytest.raises(InvalidArgumentError) as caught:
            await getattr(client if cls is AsyncArker else client.vm("v"), name)(**arguments)
        assert caught.value.argument == "idempotency_key"
    assert not server.requests


# --- replies that repeat the key -------------------------------------------------------------------------------------

ODD_KEY: Final = f"k&<{MARK}>\"'\\/+%=~"
"""A key of which every escaping makes something else."""


def echoes(key: str) -> dict[str, Reply]:
    page = f"<p>Bearer {html.escape(key)} or {html.escape(key, quote=False)}</p>"
    return {
        "message": error("bad_request", f"no: {key}", status=400),
        "code": error(key, status=400),
        "request id": error("bad_request", status=400, X_Request_Id=key),
        "request id of a reply that does not fit": ok({"exit_code": "x"}, X_Request_Id=key),
        "html": Reply(status=500, body=page.encode()),
        "url": Reply(status=502, body=f"GET /?key={quote(key, safe='')}&k={quote(key)}".encode()),
        "json in text": Reply(status=500, body=json.dumps({"got": key}).encode()),
        "repr in text": Reply(status=500, body=repr({"got": key}).encode()),
        "place in a reply": ok({"run_id": "r", "tunnels": [{key: 1}]}),
        "value in a reply": ok({"stdout": "", "stdout_encoding": key, "exit_code": 0}),
    }


@pytest.mark.parametrize("key", [API_KEY, ODD_KEY], ids=["plain", "odd"])
@pytest.mark.parametrize("where", list(echoes("")))
async def test_a_key_in_a_reply_is_not_passed_on(server: ScriptedServer, key: str, where: str) -> None:
    async with make_client(server, api_key=key, retry=False, strict_replies=True) as client:
        server.script(echoes(key)[where])
        with pytest.raises(ArkerError) as caught:
            await client.vm("v").run("x")
    assert server.last.headers["Authorization"] == f"Bearer {key}"
    assert MARK not in f"{caught.value}{caught.value!r}{vars(caught.value)}"


@pytest.mark.parametrize("filler", ["x", " "])
async def test_a_key_at_the_end_of_the_excerpt(server: ScriptedServer, filler: str) -> None:
    async with make_client(server, retry=False) as client:
        for before in (*range(300 - len(API_KEY) - 2, 304), *range(EXCERPT - len(API_KEY) - 2, EXCERPT + 2)):
            server.script(Reply(status=500, body=f"{filler * before}{API_KEY} and more".encode()))
            with pytest.raises(InternalError) as caught:
                await client.vm("v").run("x")
            # A shorter beginning is no secret yet.
            assert API_KEY[:9] not in caught.value.message, before


async def test_many_long_keys_at_the_end_of_the_excerpt(server: ScriptedServer) -> None:
    """Redaction makes a text shorter, which must not bring into view where it was cut."""
    key = MARK + "k" * 5000
    async with make_client(server, api_key=key, retry=False) as client:
        server.script(Reply(status=500, body=key.encode() * 20))
        with pytest.raises(InternalError) as caught:
            await client.vm("v").run("x")
    assert set(caught.value.message.replace("[redacted]", "")) == set()


async def test_a_key_in_a_good_reply_is_data(server: ScriptedServer, client: AsyncArker, watch: Detector) -> None:
    """What the caller asked for is handed out as it came; neither the handle nor the log nor an error repeats it."""
    server.script(ok({"vm_id": API_KEY, "name": API_KEY}), ok(completed(API_KEY)), error("not_found", status=404))
    with watch.expecting() as leaks:
        vm = await client.get_vm("v")
        assert (vm.id, vm.name) == (API_KEY, API_KEY)
        assert MARK not in repr(vm)
        assert (await vm.run("env")).stdout_text == API_KEY
        with pytest.raises(NotFoundError) as caught:
            await vm.refresh()
        assert MARK not in f"{caught.value}{vars(caught.value)}"
    # What repeats it are the values themselves.
    assert {leak.partition(":")[0] for leak in leaks} == {
        "repr of Vm",
        "repr of CompletedRunResult",
        "repr of Call",
        "repr of Request",
    }


def test_redaction() -> None:
    redact = Redactor(ODD_KEY)
    for shown in (ODD_KEY, quote(ODD_KEY), quote(ODD_KEY, safe=""), html.escape(ODD_KEY), json.dumps(ODD_KEY)[1:-1]):
        assert redact(f"a {shown} b") == "a [redacted] b"
    assert redact(f"a {ODD_KEY[:8]}") == "a [redacted]"
    assert redact(f"a {ODD_KEY[:7]}") == f"a {ODD_KEY[:7]}"
    assert redact(ODD_KEY[:-1]) == "[redacted]"
    assert redact("nothing") == "nothing"
    assert redact("") == ""
    assert MARK not in repr(redact)


# --- replies without end ---------------------------------------------------------------------------------------------


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
    output, _ = await asyncio.wait_for(process.communicate(), 60)
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
