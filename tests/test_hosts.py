"""Which hosts get what: plain HTTP, redirects, presigned URLs that lead elsewhere."""

from __future__ import annotations

import platform
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

import arker
from arker import (
    CHUNK_SIZE,
    ApiError,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    InvalidArgumentError,
    NetworkError,
)
from arker._config.urls import is_loopback
from arker._transport.http.urls import MAX_REDIRECTS, presigned, redirected, tunnelled
from arker.config import load_settings
from tests.support.clients import make_client
from tests.support.secrets import API_KEY, SIGNATURE
from tests.support.server import Reply, ScriptedServer, closed_port, ok

pytestmark = pytest.mark.anyio

REDIRECTS = (301, 302, 303, 307, 308)
URLS = ("base_url", "burst_base_url", "control_base_url")


# --- plain HTTP ------------------------------------------------------------------------------------------------------


def settings(given: Mapping[str, str] | None = None, /, **arguments: Any) -> Any:
    whole: dict[str, Any] = {"api_key": "k", "base_url": "https://h", **arguments}
    return load_settings(**whole, environ=given or {})


@pytest.mark.parametrize("argument", URLS)
@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "HTTP://api.example.com",
        "http://10.0.0.1:8080/api",
        "http://0.0.0.0",
        "http://[::]",
        "http://[2001:db8::1]",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.1",
        "http://2130706433",
        "http://127.0.0.1%2eexample.com",
    ],
)
def test_the_key_goes_nowhere_over_plain_http(argument: str, url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="insecure_hosts: http:// sends the API key in the clear") as caught:
        settings(**{argument: url})
    assert caught.value.argument == argument
    variable = f"ARKER_{argument.upper()}"
    without: dict[str, Any] = {"base_url": None} if argument == "base_url" else {}
    with pytest.raises(InvalidArgumentError) as caught:
        settings({variable: url}, **without)
    assert caught.value.argument == variable


@pytest.mark.parametrize("argument", URLS)
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10:80", "localhost", "LocalHost:1", "localhost.", "[::1]:8080"])
def test_except_to_this_machine(argument: str, host: str) -> None:
    assert getattr(settings(**{argument: f"http://{host}/api"}), argument) == f"http://{host}/api"


@pytest.mark.parametrize(
    ("named", "url", "accepted"),
    [
        (["h"], "http://h", True),
        (["H"], "http://h:8080/api", True),
        (("a", " h "), "http://H", True),
        ({"h"}, "http://h", True),
        (["10.0.0.1"], "http://10.0.0.1", True),
        (["::2"], "http://[::2]:80", True),
        (["[::2]"], "http://[::2]", True),
        (["h"], "http://g", False),
        (["h"], "http://sub.h", False),
        (["sub.h"], "http://h", False),
        (["example"], "http://example.com", False),
        ([], "http://h", False),
    ],
)
def test_or_where_it_is_allowed_by_name(named: Any, url: str, accepted: bool) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: settings(base_url=url, insecure_hosts=named),
        lambda: settings({"ARKER_INSECURE_HOSTS": ",".join(named)}, base_url=url),
        lambda: AsyncArker("k", base_url=url, insecure_hosts=named),
    ]
    for attempt in attempts:
        if accepted:
            attempt()
        else:
            with pytest.raises(InvalidArgumentError):
                attempt()


def test_the_argument_wins_over_the_environment() -> None:
    with pytest.raises(InvalidArgumentError):
        settings({"ARKER_INSECURE_HOSTS": "h"}, base_url="http://h", insecure_hosts=[])
    assert settings({"ARKER_INSECURE_HOSTS": " , a,h, "}, base_url="http://h").insecure_hosts == {"a", "h"}
    assert settings({"ARKER_INSECURE_HOSTS": " "}).insecure_hosts == frozenset()


@pytest.mark.parametrize(
    "named", ["h", b"h", 7, {"h": 1}, ["*"], ["*.h"], ["http://h"], ["h:80"], ["h/x"], [""], [7], ["[::2"], ["a b"]]
)
def test_what_is_no_list_of_hosts_is_refused(named: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="insecure_hosts"):
        settings(insecure_hosts=named)


@pytest.mark.parametrize("named", ["*", "h:80", "http://h", "a b"])
def test_nor_in_the_environment(named: str) -> None:
    with pytest.raises(InvalidArgumentError, match="ARKER_INSECURE_HOSTS"):
        settings({"ARKER_INSECURE_HOSTS": named})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("127.1", False),
        ("1\uff127.0.0.1", False),
        ("localhost.localdomain", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# --- redirects of the API --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("elsewhere", [True, False], ids=["another host", "the same host"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_the_api_redirects_nobody(
    server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM, status: int, elsewhere: bool, method: str
) -> None:
    server.script(Reply(status=status, headers={"Location": f"{(other_server if elsewhere else server).url}/v1/vms/v"}))
    calls: dict[str, Callable[[], Any]] = {"GET": vm.refresh, "POST": lambda: vm.run("x"), "DELETE": vm.delete}
    with pytest.raises(BadReplyError, match="redirects are not followed") as caught:
        await calls[method]()
    assert (caught.value.status, caught.value.attempts) == (status, 1)
    assert [request.method for request in server.requests] == [method]
    assert not other_server.requests
    assert other_server.connections == 0


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


# --- sessions of the caller's ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Authorization": f"Bearer {API_KEY}"}},
        {"headers": {"authorization": API_KEY}},
        {"headers": {"Proxy-Authorization": API_KEY}},
        {"auth": ("me", API_KEY)},
    ],
    ids=["bearer", "lower case", "proxy", "auth"],
)
async def test_a_session_that_would_authorize_everything_is_refused(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        # Newer versions of aiohttp call auth= an older way to say it.
        warnings.simplefilter("ignore", DeprecationWarning)
        if "auth" in options:
            options = {"auth": aiohttp.BasicAuth(*options["auth"])}
        made = aiohttp.ClientSession(**options)
    async with made as session:
        with pytest.raises(InvalidArgumentError, match="without authorization headers") as caught:
            AsyncArker("k", base_url="https://h", session=session)
    assert API_KEY not in str(caught.value)


async def test_a_base_url_with_a_password_is_refused_and_not_shown() -> None:
    for argument in URLS:
        with pytest.raises(InvalidArgumentError, match="without user or password") as caught:
            settings(**{argument: f"https://me:{API_KEY}@h/api"})
        assert API_KEY not in f"{caught.value}{caught.value.value}"


async def test_a_host_that_refuses_gets_no_request_elsewhere(server: ScriptedServer) -> None:
    """A base URL that does not answer is not exchanged for another one."""
    dead = f"http://127.0.0.1:{closed_port()}"
    async with make_client(server, base_url=dead) as client:
        with pytest.raises(NetworkError):
            await client.vm("v").run("x")
    assert not server.requests
