"""The way out of VMs, from inside: what goes through, what policies leave of it, and what is always out of reach."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import shlex
import socket
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from arker.emulator import Emulator
from tests.emulator.sandbox.support import until
from tests.emulator.server.egress_support import LARGE_DIGEST, TALK, Echo, Origin, serving
from tests.emulator.server.support import ISOLATION, Api, chunk, output
from tests.emulator.server.test_egress_policy import BAD_RULES
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

HOST = "host.arker.internal"
VARIABLES = {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"}


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    server = Origin()
    with serving(server):
        yield server


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    server = Echo()
    with serving(server):
        yield server


@pytest.fixture(scope="module")
def hidden() -> Iterator[Origin]:
    """Run a web server on all addresses of this machine. Its port is not open to VMs."""
    server = Origin("0.0.0.0")
    with serving(server):
        yield server


@pytest.fixture(scope="module")
def emulator(origin: Origin, echo: Echo) -> Iterator[Emulator]:
    with ForkedEmulator(isolation=ISOLATION, host_ports=[origin.port, echo.port]) as emulator:
        yield emulator


@pytest.fixture
async def api(emulator: Emulator) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        yield api
        for vm in await api.list_all("/v1/vms", "vms", limit="1000"):
            await api.delete(vm["vm_id"])


async def sh(api: Api, vm: str, command: str) -> str:
    """Return what a successful command prints."""
    run = await api.run(vm, command, timeout=120)
    assert run["exit_code"] == 0, run
    return output(run).decode("utf-8", "replace").strip()


async def talk(api: Api, vm: str, data: bytes, *, talk_on: bool = False) -> bytes:
    """Return the answer of the VM's way out to exactly these bytes."""
    await api.write(vm, chunk("talk.py", TALK))
    encoded = base64.b64encode(data).decode()
    run = await api.run(vm, f"base64 -d <<< {encoded} | python3 talk.py{' --open' if talk_on else ''}", timeout=120)
    return output(run)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


async def fork(api: Api, network: Any = None, **fields: Any) -> str:
    return str((await api.fork(network=network, **fields))["vm_id"])


# --- what goes through ---


async def test_curl_and_urllib(api: Api, vm: str, origin: Origin) -> None:
    url = f"http://{HOST}:{origin.port}"
    assert await sh(api, vm, f"curl -sS {url}/chunks") == "onetwo"
    assert await sh(api, vm, f"curl -sS -d hello {url}/echo") == "hello"
    get = f"import urllib.request as u; print(u.urlopen('{url}/echo', b'some data').read().decode())"
    assert await sh(api, vm, f"python3 -c {shlex.quote(get)}") == "some data"


async def test_twenty_mebibytes_in_each_direction(api: Api, vm: str, origin: Origin) -> None:
    url = f"http://{HOST}:{origin.port}"
    assert (await sh(api, vm, f"curl -sS {url}/large | tee large | sha256sum")).split()[0] == LARGE_DIGEST
    assert await sh(api, vm, f"curl -sS --data-binary @large {url}/digest") == LARGE_DIGEST
    chunked = "-H 'Transfer-Encoding: chunked' -H Expect:"
    assert await sh(api, vm, f"curl -sS -X POST {chunked} -T large {url}/digest") == LARGE_DIGEST


async def test_connections_are_kept_alive(api: Api, vm: str, origin: Origin) -> None:
    url = f"http://{HOST}:{origin.port}"
    urls = " ".join(f"-o /dev/null {url}/{path}" for path in ("chunks", "large", "head"))
    connects = await sh(api, vm, f"curl -sS -w '%{{num_connects}} ' {urls}")
    assert connects.split() == ["1", "0", "0"]


async def test_host_is_made_from_the_url_and_what_is_for_a_proxy_stays(api: Api, vm: str, origin: Origin) -> None:
    head = (
        f"GET HTTP://{HOST.upper()}.:{origin.port}/head HTTP/1.1\r\nHost: evil.example\r\nProxy-Connection: close\r\n"
        "Proxy-Authorization: Basic x\r\nProxy-Anything: 1\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nX-Own: 1\r\n\r\n"
    )
    answer = await talk(api, vm, head.encode())
    line, fields = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert line == "GET /head HTTP/1.1"
    assert sorted(fields) == [["Connection", "close"], ["Host", f"{HOST}:{origin.port}"], ["X-Own", "1"]]


async def test_connect_carries_any_bytes_and_either_half_may_end_first(api: Api, vm: str, echo: Echo) -> None:
    head = f"CONNECT {HOST}:{echo.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = await talk(api, vm, head + b"early\0\xff" + b"x" * 50_000)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nEARLY\0\xff" + b"X" * 50_000 + b"<end>"


async def test_pip_installs_a_package(api: Api, vm: str, origin: Origin) -> None:
    specification = importlib.util.find_spec("pip")
    assert specification is not None
    assert specification.origin is not None
    package = Path(specification.origin).parent
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in package.rglob("*"):
            if path.suffix not in {".pyc", ".exe"} and path.is_file():
                archive.write(path, path.relative_to(package.parent))
    await api.write(vm, chunk("pip.zip", file.getvalue()))
    index = f"-i http://{HOST}:{origin.port}/simple --trusted-host {HOST}"
    await sh(
        api, vm, f"PYTHONPATH=pip.zip python3 -m pip install --no-cache-dir -q --target site {index} tiny-package 2>&1"
    )
    assert await sh(api, vm, "PYTHONPATH=site python3 -c 'import tiny_package; print(tiny_package.VALUE)'") == "42"
    # As a Debian host has it: its Python is marked as managed by the system.
    managed = (
        "import runpy, sysconfig as s\n"
        "real = s.get_path\n"
        "s.get_path = lambda name, *rest, **more: 'managed' if name == 'stdlib' else real(name, *rest, **more)\n"
        "runpy.run_module('pip', run_name='__main__')\n"
    )
    await sh(api, vm, "mkdir managed; echo '[externally-managed]' > managed/EXTERNALLY-MANAGED")
    install = (
        f"PYTHONPATH=pip.zip python3 -c {shlex.quote(managed)} install --no-cache-dir -q {index} tiny-package 2>&1"
    )
    refused = await api.run(vm, f"PIP_BREAK_SYSTEM_PACKAGES=0 {install}")
    assert b"externally-managed-environment" in output(refused)
    await sh(api, vm, install)
    assert await sh(api, vm, "python3 -c 'import tiny_package; print(tiny_package.VALUE)'") == "42"


async def test_it_is_there_again_after_the_vms_processes_were_killed(api: Api, vm: str, origin: Origin) -> None:
    command = f"curl -sS http://{HOST}:{origin.port}/chunks"
    for _ in range(2):
        assert await sh(api, vm, command) == "onetwo"
        await api.run(vm, "kill -9 -1")
    assert await sh(api, vm, command) == "onetwo"


async def test_deleting_a_vm_cuts_its_connections(api: Api, vm: str, echo: Echo) -> None:
    await api.write(vm, chunk("talk.py", TALK))
    head = rf"CONNECT {HOST}:{echo.port} HTTP/1.1\r\nHost: x\r\n\r\nhello"
    run = await api.background(vm, f"printf '{head}' | python3 talk.py --open")
    await api.printed(vm, run, "HELLO")
    assert echo.open == 1
    await api.delete(vm)
    await until(lambda: echo.open == 0)


async def test_many_connections_at_once_wait_for_each_other(api: Api, vm: str, origin: Origin) -> None:
    script = f"""
import asyncio
async def get():
    reader, writer = await asyncio.open_connection("127.0.0.1", 31280)
    writer.write(b"GET http://{HOST}:{origin.port}/chunks HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    return answer.count(b"two")
async def main():
    silent = [await asyncio.open_connection("127.0.0.1", 31280) for _ in range(200)]
    print(sum(await asyncio.gather(*(get() for _ in range(400)))))
asyncio.run(main())
"""
    await api.write(vm, chunk("many.py", script.encode()))
    assert await sh(api, vm, "python3 many.py") == "400"


# --- what does not ---


def own_address() -> str:
    """Return an address of this machine: its loopback address if it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.254", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


async def test_the_machines_own_network_is_out_of_reach(api: Api, vm: str, hidden: Origin) -> None:
    hosts = (
        *("127.0.0.1", "127.8.9.10", "localhost", "LOCALHOST.", "x.localhost", "0.0.0.0", "169.254.169.254"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "224.0.0.1", "255.255.255.255", "[fe80::1]"),
        *("metadata.google.internal", socket.gethostname(), own_address(), HOST),
    )
    data = b"".join(
        f"GET http://{place}/ HTTP/1.1\r\nHost: x\r\n\r\n|CONNECT {place} HTTP/1.1\r\nHost: x\r\n\r\n|".encode()
        for place in [f"{host}:{hidden.port}" for host in hosts]
    )
    loop = (
        "import socket, sys\n"
        "for data in sys.stdin.buffer.read().split(b'|')[:-1]:\n"
        "    with socket.create_connection(('127.0.0.1', 31280), 20) as connection:\n"
        "        connection.sendall(data)\n"
        "        print(data.split()[:2], connection.recv(1000)[:13])\n"
    )
    await api.write(vm, chunk("loop.py", loop.encode()), chunk("data", data))
    lines = (await sh(api, vm, "python3 loop.py < data")).splitlines()
    assert len(lines) == 2 * len(hosts)
    assert [line for line in lines if not line.endswith("b'HTTP/1.1 403 '")] == []
    assert hidden.requests == 0


async def test_a_vm_reaches_itself_by_each_of_its_names(api: Api, vm: str) -> None:
    await sh(api, vm, "python3 -m http.server 8000 --bind :: >/dev/null 2>&1 &")
    await sh(api, vm, "until curl -sf -o /dev/null localhost:8000; do sleep .05; done")
    hosts = ("localhost", "vm", "127.0.0.1", "127.0.1.1", "0.0.0.0", "[::1]", "[::]")
    get = "import sys, urllib.request as u; print(*[u.urlopen(f'http://{host}:8000/').status for host in sys.argv[1:]])"
    assert await sh(api, vm, f"python3 -c {shlex.quote(get)} {' '.join(hosts)}") == " ".join(["200"] * len(hosts))
    urls = " ".join(f"-o /dev/null http://{host}:8000/" for host in (*hosts, "127.9.9.9"))
    assert await sh(api, vm, f"curl -gsS -w '%{{http_code}} ' {urls}") == " ".join(["200"] * (len(hosts) + 1))


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1%00.example", "a@127.0.0.1"])
async def test_odd_spellings_are_refused(api: Api, host: str, origin: Origin) -> None:
    vm = await fork(api, {"type": "block", "block": ["127.0.0.1"]})
    answer = await talk(api, vm, f"GET http://{host}:{origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert statuses(answer) == [400]
    answer = await talk(api, vm, f"CONNECT {host}:{origin.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert statuses(answer) == [400]


async def test_each_request_of_a_connection_is_checked(api: Api, origin: Origin) -> None:
    vm = await fork(api, {"type": "allow", "allow": [f"{HOST}:{origin.port}"]})
    request = "GET http://%s/chunks HTTP/1.1\r\nHost: x\r\n\r\n"
    good, bad = request % f"{HOST}:{origin.port}", request % "elsewhere.example"
    answer = await talk(api, vm, (good + good + bad + good).encode(), talk_on=True)
    assert statuses(answer) == [200, 200, 403]
    body = json.loads(answer.rpartition(b"\r\n\r\n")[2])
    assert body["code"] == "forbidden"
    assert "elsewhere.example:80" in body["message"]
    assert "allow" in body["message"]


@pytest.mark.parametrize(
    ("network", "reached"),
    [
        ("open", True),
        ({"type": "allow", "allow": ["example.com", HOST.upper()]}, True),
        ({"type": "allow", "allow": ["example.com", "*.arker.internal"]}, True),
        ({"type": "allow", "allow": ["example.com"]}, False),
        ({"type": "allow", "allow": [f"{HOST}:1"]}, False),
        ({"type": "allow", "allow": []}, False),
        ({"type": "block", "block": ["example.com"]}, True),
        ({"type": "block", "block": [HOST]}, False),
        ({"type": "block", "block": ["*.internal"]}, False),
    ],
)
async def test_policies(api: Api, network: Any, reached: bool, origin: Origin) -> None:
    vm = await fork(api, network)
    status = await sh(api, vm, f"curl -s -o /dev/null -w '%{{http_code}}' http://{HOST}:{origin.port}/chunks")
    assert status == ("200" if reached else "403")


async def test_vms_with_different_policies_side_by_side(api: Api, origin: Origin) -> None:
    allowed = await fork(api, {"type": "allow", "allow": [HOST]})
    barred = await fork(api, {"type": "block", "block": [HOST]})
    command = f"curl -s -o /dev/null -w '%{{http_code}}' http://{HOST}:{origin.port}/chunks"
    assert [await sh(api, vm, command) for vm in (allowed, barred, allowed, barred)] == ["200", "403", "200", "403"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET https://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ftp://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://example.com:0/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://example.com/#x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.com HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT /x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",  # no Host
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
        b"POST http://example.com/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x05\x01\x00\r\n\r\n",
        b"GET http://exa",
    ],
)
async def test_what_is_no_request_to_a_proxy(api: Api, vm: str, data: bytes) -> None:
    assert statuses(await talk(api, vm, data)) == [400]


async def test_large_heads_and_passwords(api: Api, vm: str) -> None:
    answer = await talk(api, vm, b"GET http://example.com/ HTTP/1.1\r\nX: " + b"x" * 60_000 + b"\r\nY: " + b"y" * 9000)
    assert statuses(answer) == [431]
    answer = await talk(api, vm, b"GET http://user:secret@127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(answer) == [400]
    assert b"secret" not in answer


# --- variables and inheritance ---


async def names(api: Api, vm: str) -> set[str]:
    return set((await sh(api, vm, "env | grep -i proxy | cut -d= -f1; true")).split())


LISTENS = "(exec 3<>/dev/tcp/127.0.0.1/31280) 2>/dev/null && echo yes || echo no"


@pytest.mark.parametrize("source", ["ubuntu", "ubuntu-nonet-nodisk"])
async def test_a_blocked_vm_has_no_variables_and_no_way_out(api: Api, source: str) -> None:
    network = "blocked" if source == "ubuntu" else None
    body = await api.fork(source, network=network)
    vm = body["vm_id"]
    assert not VARIABLES & set(body["sessions"][0]["env"])
    assert await names(api, vm) == set()
    assert await sh(api, vm, LISTENS) == "no"
    child = await fork(api, source_vm_id=vm)
    assert await names(api, child) == set()
    assert await sh(api, child, LISTENS) == "no"


async def test_a_childs_environment_fits_its_own_policy(api: Api) -> None:
    parent = await api.fork()
    vm = parent["vm_id"]
    assert set(parent["sessions"][0]["env"]) >= VARIABLES
    await sh(api, vm, "export MINE=1 PATH=$PATH:/more NO_PROXY=intranet; unset https_proxy")
    same = await fork(api, source_vm_id=vm)
    assert await names(api, same) == VARIABLES - {"https_proxy"}
    assert await sh(api, same, LISTENS) == "yes"
    cases: list[tuple[Any, set[str], str]] = [
        ("blocked", {"NO_PROXY"}, "no"),
        ({"type": "allow", "allow": []}, VARIABLES - {"https_proxy"}, "yes"),
    ]
    for network, seen, listens in cases:
        child = await fork(api, network, source_vm_id=vm)
        assert await names(api, child) == seen
        assert (await sh(api, child, 'echo "$MINE ${PATH##*:} $NO_PROXY"')) == "1 /more intranet"
        assert await sh(api, child, LISTENS) == listens
    opened = await fork(api, "open", source_vm_id=await fork(api, "blocked", source_vm_id=vm))
    assert await names(api, opened) == VARIABLES
    assert await sh(api, opened, LISTENS) == "yes"


async def test_a_child_has_its_parents_policy(api: Api, origin: Origin) -> None:
    parent = await fork(api, {"type": "block", "block": [HOST]})
    child = await fork(api, source_vm_id=parent)
    command = f"curl -s -o /dev/null -w '%{{http_code}}' http://{HOST}:{origin.port}/chunks"
    assert await sh(api, child, command) == "403"
    assert await sh(api, await fork(api, "open", source_vm_id=child), command) == "200"


async def test_a_sessions_own_environment_is_laid_over(api: Api, vm: str) -> None:
    reply = await api.call("POST", f"/v1/vms/{vm}/sessions", {"env": {"http_proxy": "http://mine.example"}})
    env = reply.json["env"]
    assert env["http_proxy"] == "http://mine.example"
    assert set(env) >= VARIABLES


# --- what is refused at the fork ---


@pytest.mark.parametrize("kind", ["allow", "block"])
async def test_bad_hosts_are_refused_by_the_fields_name(api: Api, kind: str) -> None:
    for bad in [*[[rule] for rule in BAD_RULES], ["good.example", 7], "good.example", None, ["a.b"] * 1001]:
        reply = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "network": {"type": kind, kind: bad}})
        assert reply.refusal == (400, "bad_request"), bad
        assert f"network.{kind}" in reply.message


async def test_without_isolation_no_policy_is_promised(place: Path, origin: Origin) -> None:
    with ForkedEmulator(isolation="none", state_parent=place, host_ports=[origin.port]) as emulator:
        async with aiohttp.ClientSession() as session:
            api = Api(session, emulator.url, emulator.api_key)
            for fields in (
                {"source_vm_name": "ubuntu", "network": "blocked"},
                {"source_vm_name": "ubuntu", "network": {"type": "allow", "allow": ["a.b"]}},
                {"source_vm_name": "ubuntu", "network": {"type": "block", "block": ["a.b"]}},
                {"source_vm_name": "ubuntu-nonet-nodisk"},
            ):
                reply = await api.call("POST", "/v1/fork", fields)
                assert reply.refusal == (422, "unsupported_operation")
                assert "network" in reply.message
            body = await api.fork(network="open")
            assert not VARIABLES & set(body["sessions"][0]["env"])
            home = await sh(api, body["vm_id"], "export X=1; echo $HOME")
            child = await fork(api, source_vm_id=body["vm_id"])
            assert await sh(api, child, "echo $X $HOME") == "1 " + home.replace(body["vm_id"], child)
