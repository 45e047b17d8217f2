"""Which hosts get what of the API's requests: plain HTTP, redirects, sessions of the caller's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadReplyError,
    InvalidArgumentError,
    NetworkError,
)
from arker._config.urls import is_loopback
from arker.config import load_settings
from tests.support.clients import make_client
from tests.support.secrets import API_KEY
from tests.support.server import Reply, ScriptedServer, closed_port

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
    assert getattr(settings(**{argument: f"http://{host}/api"}), argument) == f"http://{host.lower()}/api"


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
