"""Where presigned URLs may lead, and their redirects."""

from __future__ import annotations

import platform
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

import arker
from arker import (
    CHUNK_SIZE,
    ApiError,
    AsyncVM,
    BadReplyError,
)
from arker._transport.http.urls import MAX_REDIRECTS, presigned, redirected, tunnelled
from tests.support.clients import make_client
from tests.support.secrets import API_KEY, SIGNATURE
from tests.support.server import Reply, ScriptedServer, ok

pytestmark = pytest.mark.anyio

REDIRECTS = (301, 302, 303, 307, 308)


# --- redirects of presigned URLs -------------------------------------------------------------------------------------


def offered(url: str, size: int = 2) -> Reply:
    return ok({"path": "f", "size": size, "presigned_url": url, "expires_in": 9})


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_presigned_get_may_be_elsewhere(
    server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM, status: int
) -> None:
    server.script(offered(f"{server.url}/o?X-Signature={SIGNATURE}"))
    server.script(Reply(status=status, body=b"moved", headers={"Location": f"{other_server.url}/a?b=c%2Fd"}))
    other_server.script(Reply(status=status, headers={"Location": "../e"}), Reply(body=b"hi"))
    assert await vm.sync("f") == b"hi"
    assert [request.target for request in other_server.requests] == ["/a?b=c%2Fd", "/e"]
    for request in (*server.requests[1:], *other_server.requests):
        assert request.method == "GET"
        assert not {"Authorization", "Cookie", "Referer"} & set(request.headers)
        assert API_KEY not in f"{request.target}{dict(request.headers)}"


@pytest.mark.parametrize("of_the_caller", [False, True])
async def test_presigned_requests_have_no_header_of_aiohttps(
    server: ScriptedServer, other_server: ScriptedServer, of_the_caller: bool
) -> None:
    # A store may have signed them, so that one more would be refused.
    url = f"{other_server.url}/o?X-Signature={SIGNATURE}"
    grant = {"path": "/f", "size": 2, "presigned_url": url, "upload_id": "0" * 26, "expires_in": 9, "method": "PUT"}
    server.script(ok({"results": [{**grant, "complete": False, "written": False}]}))
    server.script(ok({"results": [{"path": "/f", "size": 2, "complete": True, "written": True}]}), offered(url))
    other_server.script(Reply(), Reply(body=b"hi"))
    async with (
        aiohttp.ClientSession() as session,
        make_client(server, session=session if of_the_caller else None) as client,
    ):
        vm = client.vm("vm")
        await vm.upload(b"hi", "/f", strategy="put")
        assert await vm.sync("f") == b"hi"
    assert [request.method for request in other_server.requests] == ["PUT", "GET"]
    for request in other_server.requests:
        assert {name.lower() for name in request.headers} <= {"host", "user-agent", "content-length"}
        assert request.headers["User-Agent"].startswith("arker-async/")


async def test_but_only_a_few_times(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    moved = Reply(status=302, headers={"Location": "/again"})
    server.script(offered(f"{other_server.url}/o"))
    other_server.script(*[moved] * MAX_REDIRECTS, Reply(body=b"hi"))
    assert await vm.sync("f") == b"hi"
    server.script(offered(f"{other_server.url}/o"))
    other_server.requests.clear()
    other_server.script(*[moved] * (MAX_REDIRECTS + 1))
    with pytest.raises(BadReplyError, match="redirects more than 5 times") as caught:
        await vm.sync("f")
    assert len(other_server.requests) == MAX_REDIRECTS + 1
    assert (caught.value.status, caught.value.outcome) == (302, "not_started")


@pytest.mark.parametrize(
    "location",
    [
        f"http://[{SIGNATURE}",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://h:99999/",
        "http://me:word@127.0.0.1/",
        "http://me@127.0.0.1/",
        "//me@127.0.0.1/",
    ],
)
async def test_nor_to_anything(
    server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM, location: str
) -> None:
    server.script(offered(f"{other_server.url}/o"))
    other_server.script(Reply(status=302, headers={"Location": location}))
    with pytest.raises(BadReplyError, match="the presigned URL redirects to") as caught:
        await vm.sync("f")
    assert location not in str(caught.value)


async def test_a_redirect_that_leads_nowhere(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(offered(f"{other_server.url}/o"))
    other_server.script(Reply(status=302))
    with pytest.raises(ApiError, match="the object store answered HTTP 302"):
        await vm.sync("f")


@pytest.fixture
async def secure_store() -> AsyncIterator[tuple[str, list[str]]]:
    """Run a TLS server that redirects to the address in its query."""
    seen: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        raise web.HTTPFound(request.query["to"])

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "support" / "untrusted.pem")
    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


async def test_a_redirect_never_leaves_https(
    server: ScriptedServer, other_server: ScriptedServer, secure_store: tuple[str, list[str]]
) -> None:
    url, seen = secure_store
    server.script(offered(f"{url}/o?to={other_server.url}/x"))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
        make_client(server, session=session) as client,
    ):
        with pytest.raises(BadReplyError, match="redirects to one that leads from https:// to http://"):
            await client.vm("v").sync("f")
    assert seen == ["/o"]
    assert not other_server.requests


# --- presigned URLs --------------------------------------------------------------------------------------------------

REFUSED = [
    ("file:///etc/passwd", "is not a URL"),
    ("FILE:///etc/passwd", "is not a URL"),
    ("data:,hi", "is not a URL"),
    ("unix:///run/x.sock", "is not a URL"),
    ("/etc/passwd", "is not a URL"),
    ("http:///o", "is not a URL"),
    ("http://me:word@127.0.0.1/o", "holds a user or password"),
    ("http://me@127.0.0.1/o", "holds a user or password"),
    ("http://:word@127.0.0.1/o", "holds a user or password"),
]


@pytest.mark.parametrize(("url", "reason"), REFUSED)
async def test_presigned_urls_that_are_refused(server: ScriptedServer, vm: AsyncVM, url: str, reason: str) -> None:
    server.script(offered(url), ok({"results": [{"presigned_url": url, "upload_id": "u", "expires_in": 9}]}))
    for work in (vm.sync("f"), vm.sync("f", bytes(CHUNK_SIZE + 1))):
        with pytest.raises(BadReplyError, match=reason) as caught:
            await work
        assert caught.value.path == "$.presigned_url"
        assert url not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "url", "accepted"),
    [
        # An API on this machine may hand out objects on it.
        ("http://127.0.0.1:1", "http://localhost:2/o", True),
        ("http://127.0.0.1:1", "https://store.example/o", True),
        ("http://127.0.0.1:1", "http://store.example/o", True),
        ("https://localhost", "http://127.0.0.1:2/o", True),
        # One that is elsewhere may not: what listens here for this machine alone is none of its business.
        ("https://api.example", "http://127.0.0.1:2375/o", False),
        ("https://api.example", "https://localhost/o", False),
        ("https://api.example", "https://[::1]/o", False),
        ("http://allowed.example", "http://127.0.0.1/o", False),
        # What came by HTTPS does not go on in the clear.
        ("https://api.example", "https://store.example/o", True),
        ("https://api.example", "http://store.example/o", False),
        ("https://api.example", "http://allowed.example/o", True),
        ("https://localhost", "http://store.example/o", False),
    ],
)
def test_where_presigned_urls_may_lead(base_url: str, url: str, accepted: bool) -> None:
    allowed = frozenset({"allowed.example"})
    if accepted:
        assert presigned(url, base_url, allowed) == URL(url)
    else:
        with pytest.raises(BadReplyError, match=r"leads (to this machine|from https)"):
            presigned(url, base_url, allowed)


SPELLINGS_OF_THIS_MACHINE = [
    *("127.0.0.2", "LOCALHOST.", "a.localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "0.1.2.3"),
    *("169.254.169.254", "[::]", "[::ffff:127.0.0.1]", "[::ffff:0:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]"),
    *("[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:db8::5efe:127.0.0.1]", "[fe80::1]"),
]
SPELLINGS_OF_ANYTHING = [
    *("127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1%2e", "%31%32%37.0.0.1"),
    *(
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "\u24db\u24de\u24d2\u24d0lhost",
        "[fe80::1%25lo]",
        "a..b",
    ),
]


@pytest.mark.parametrize("host", SPELLINGS_OF_THIS_MACHINE + SPELLINGS_OF_ANYTHING)
def test_no_spelling_of_this_machine_leads_to_it(host: str) -> None:
    reason = "leads to this machine" if host in SPELLINGS_OF_THIS_MACHINE else "(not written as hosts are|not a URL)"
    for base_url in ("https://api.example", "http://allowed.example"):
        with pytest.raises(BadReplyError, match=reason) as caught:
            presigned(f"https://{host}:2375/o", base_url, frozenset({"allowed.example"}))
        assert host not in str(caught.value)
        with pytest.raises(BadReplyError, match=reason):
            tunnelled(f"https://{host}/", "/", base_url, frozenset({"allowed.example"}))
    with pytest.raises(BadReplyError, match=reason):
        redirected(URL("https://store.example/a"), f"https://{host}/o", 302)


@pytest.mark.parametrize(
    "host", ["xn--bcher-kva.example", "a_b.example", "10.0.0.1", "[2001:db8::1]", "store.example."]
)
def test_other_hosts_are_followed(host: str) -> None:
    assert presigned(f"https://{host}/o", "https://api.example", frozenset()) == URL(f"https://{host}/o")


@pytest.mark.parametrize(
    ("location", "accepted"),
    [
        ("https://other.example/o", True),
        ("//other.example/o", True),
        ("/o", True),
        ("http://store.example/o", False),
        ("https://127.0.0.1/o", False),
        ("http://127.0.0.1/o", False),
        ("//localhost/o", False),
    ],
)
def test_where_they_may_redirect_to(location: str, accepted: bool) -> None:
    url = URL("https://store.example/a?b=c")
    if accepted:
        assert redirected(url, location, 302) == url.join(URL(location))
    else:
        with pytest.raises(BadReplyError, match=r"leads (to this machine|from https)") as caught:
            redirected(url, location, 302)
        assert caught.value.status == 302


async def test_a_presigned_url_on_this_machine_carries_no_key(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(offered(f"{server.url}/o"), Reply(body=b"hi"))
    assert await vm.sync("f") == b"hi"
    assert "Authorization" not in server.last.headers


async def test_every_request_says_who_sends_it(
    server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM
) -> None:
    server.script(offered(f"{other_server.url}/o"))
    other_server.script(Reply(body=b"hi"))
    await vm.sync("f")
    expected = f"arker-async/{arker.__version__} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
    assert server.last.headers["User-Agent"] == other_server.last.headers["User-Agent"] == expected
