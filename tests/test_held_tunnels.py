"""`AsyncTunnel`: opened, waited for and deleted with its block; and requests through it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncTunnel,
    AsyncVM,
    BadReplyError,
    ConfigurationError,
    DeadlineExceededError,
    Hooks,
    InternalError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
    RequestEvent,
    TunnelClosedError,
)
from tests.support.clients import COMPUTE, make_client
from tests.support.interruption import Interruption
from tests.support.secrets import API_KEY, MARK, TUNNEL_TOKEN
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok

pytestmark = pytest.mark.anyio

TUNNELS = f"{COMPUTE}/v1/vms/vm-1/tunnels"
DELETED = ok({"deleted": True})


def tunnel(state: str = "open", **more: Any) -> dict[str, Any]:
    base = {"vm_id": "vm-1", "port": 8080, "visibility": "public", "protocol": "http", "tunnel_key": "tk-1"}
    return {**base, "state": state, "auth_mode": "public", **more}


def private(server: ScriptedServer, **more: Any) -> dict[str, Any]:
    return tunnel(**{"url": server.url, "auth_mode": "authenticated", "auth_token": TUNNEL_TOKEN, **more})


async def test_a_block(server: ScriptedServer, vm: AsyncVM) -> None:
    held = vm.tunnel(8080, auth_mode="authenticated")
    assert server.requests == []
    assert repr(held) == "<AsyncTunnel to port 8080 of VM vm-1, not open>"
    server.script(ok(private(server, state="starting")), ok(tunnel("starting")), ok(tunnel(url=server.url)), DELETED)
    async with held as inside:
        assert inside is held
        assert server.requests[0].json == {"ports": [8080], "auth_mode": "authenticated"}
        assert [request.target for request in server.requests] == [TUNNELS] + [f"{TUNNELS}/tk-1"] * 2
        assert (held.port, held.vm_id, held.url, held.state) == (8080, "vm-1", server.url, "open")
        # Only the first reply had the token.
        assert held.auth_token == TUNNEL_TOKEN
        assert held.headers == {"Authorization": f"Bearer {TUNNEL_TOKEN}"}
        assert MARK not in repr(held)
        assert repr(held) == f"<AsyncTunnel to port 8080 of VM vm-1, open at {server.url}>"
    assert (server.last.method, server.last.target) == ("DELETE", f"{TUNNELS}/tk-1")
    assert held.state == "closed"
    for use in (held.open(), held.request("GET", "/")):
        with pytest.raises((ConfigurationError, TunnelClosedError), match="closed"):
            await use


async def test_without_a_block_and_without_waiting(server: ScriptedServer, vm: AsyncVM) -> None:
    held = vm.tunnel(8080, wait=False)
    with pytest.raises(ConfigurationError, match="not open"):
        _ = held.url
    server.script(ok(tunnel("starting")))
    assert await held.open() is held
    assert (held.state, held.headers) == ("starting", {})
    with pytest.raises(ConfigurationError, match="no URL yet"):
        _ = held.url
    server.script(ok(tunnel("starting", url=server.url)), ok(tunnel(url=server.url)), DELETED)
    assert await held.wait_open(deadline=30) is held
    assert (held.state, held.url) == ("open", server.url)
    await held.close()
    assert [request.method for request in server.requests] == ["POST", "GET", "GET", "DELETE"]


async def test_one_that_is_closed_already(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(tunnel(url=server.url)), DELETED)
    async with vm.tunnel(8080) as held:
        pass
    assert (await held.close()).deleted
    assert (await held.close(deadline=5)).deleted
    assert [request.method for request in server.requests] == ["POST", "DELETE"]


async def test_one_that_the_server_has_no_more(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(tunnel(url=server.url)), Reply(status=404, body=b"<html>"), error("not_found", status=404))
    held = await vm.tunnel(8080).open()
    with pytest.raises(NotFoundError):  # only a proxy says so
        await held.close()
    assert held.state == "open"
    assert (await held.close()).deleted
    assert held.state == "closed"
    assert (await held.close()).deleted
    assert len(server.requests) == 3


async def test_one_that_cannot_be_opened(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(tunnel("starting")), ok(tunnel("closed", message="no port is free")), DELETED)
    with pytest.raises(TunnelClosedError, match="no port is free") as caught:
        async with vm.tunnel(8080):
            raise AssertionError("it is not open")
    assert (caught.value.port, caught.value.vm_id, caught.value.code) == (8080, "vm-1", "tunnel_closed")
    assert server.last.method == "DELETE"


async def test_one_that_is_gone_while_it_is_waited_for(server: ScriptedServer, vm: AsyncVM) -> None:
    gone = error("not_found", status=404)
    server.script(ok(tunnel("starting")), gone, gone)
    with pytest.raises(NotFoundError):
        await vm.tunnel(8080).open()


async def test_a_deadline_of_the_opening(server: ScriptedServer, vm: AsyncVM) -> None:
    def answer(request: Recorded) -> Reply:
        return DELETED if request.method == "DELETE" else ok(tunnel("starting"))

    server.answer(answer)
    with pytest.raises(DeadlineExceededError):
        await vm.tunnel(8080, deadline=0.15).open()
    assert server.last.method == "DELETE"


async def test_a_reply_without_a_key(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({**tunnel(), "tunnel_key": None}))
    with pytest.raises(BadReplyError) as caught:
        await vm.tunnel(8080).open()
    assert (caught.value.path, caught.value.outcome) == ("$.tunnel_key", "applied")


async def test_no_tunnel_is_left_wherever_it_is_cancelled(server: ScriptedServer) -> None:
    open_tunnels: set[str] = set()

    def answer(request: Recorded) -> Reply:
        name = request.path.rpartition("/")[2]
        if request.method == "POST":
            name = f"tk-{len(server.requests)}"
            open_tunnels.add(name)
            return ok(tunnel("starting", tunnel_key=name), delay=0.002)
        if request.method == "GET":
            return ok(tunnel(url=server.url, tunnel_key=name))
        open_tunnels.discard(name)
        return DELETED

    server.answer(answer)
    at = cancelled = 0
    while True:
        at += 1
        async with make_client(server) as client:

            async def use() -> None:
                async with client.vm("vm-1").tunnel(8080):
                    await asyncio.sleep(0)

            attempt = Interruption[None](at)
            cancelled += await attempt.of(use)
        assert open_tunnels == set(), at
        if not attempt.happened:
            break
    assert cancelled >= 5


@pytest.mark.parametrize("port", [0, -1, 65536, "8080", True, None])
async def test_ports(vm: AsyncVM, port: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="port"):
        vm.tunnel(port)


async def test_other_arguments(vm: AsyncVM) -> None:
    arguments: list[dict[str, Any]] = [{"auth_mode": "secret"}, {"wait": 1}, {"deadline": -1}]
    for wrong in arguments:
        with pytest.raises(InvalidArgumentError):
            vm.tunnel(8080, **wrong)


# --- requests through it ---------------------------------------------------------------------------------------------


async def opened(server: ScriptedServer, vm: AsyncVM, **more: Any) -> AsyncTunnel:
    server.script(ok(private(server, **more)))
    held = await vm.tunnel(8080, auth_mode="authenticated").open()
    server.requests.clear()
    return held


async def test_waiting_until_a_server_answers(server: ScriptedServer, vm: AsyncVM) -> None:
    held = await opened(server, vm)
    refused = [error("unavailable", status=status) for status in (502, 503, 504)]
    asked: list[str] = []

    def answer(request: Recorded) -> Reply:
        if request.path.startswith(TUNNELS):
            return ok(tunnel(url=server.url))
        asked.append(request.target)
        return refused.pop() if refused else error("not_found", status=404)

    server.answer(answer)
    assert await held.wait_until_serving("/ready?now", deadline=30) is held
    assert asked == ["/ready?now"] * 4


async def test_waiting_until_a_server_answers_opens_the_tunnel_first(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(tunnel("starting")), ok(tunnel("starting")), ok(tunnel(url=server.url)), ok({}))
    held = await vm.tunnel(8080, wait=False).open()
    await held.wait_until_serving(deadline=30)
    assert [request.target for request in server.requests[1:]] == [f"{TUNNELS}/tk-1"] * 2 + ["/"]


async def test_a_server_that_never_answers(server: ScriptedServer, vm: AsyncVM) -> None:
    held = await opened(server, vm)

    def answer(request: Recorded) -> Reply:
        return ok(tunnel(url=server.url)) if request.path.startswith(TUNNELS) else dropped(Drop.RESET)

    server.answer(answer)
    with pytest.raises(DeadlineExceededError) as caught:
        await held.wait_until_serving(deadline=0.3)
    assert caught.value.operation == "tunnel.wait_until_serving"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (error("not_found", status=404), NotFoundError),
        (ok(tunnel("closed", message="the VM is gone")), TunnelClosedError),
    ],
)
async def test_a_tunnel_that_ends_while_its_server_is_waited_for(
    server: ScriptedServer, vm: AsyncVM, reply: Reply, expected: type[Exception]
) -> None:
    held = await opened(server, vm)

    def answer(request: Recorded) -> Reply:
        return reply if request.path.startswith(TUNNELS) else error("unavailable", status=502)

    server.answer(answer)
    with pytest.raises(expected):
        await held.wait_until_serving(deadline=30)


@pytest.mark.parametrize(("arguments", "name"), [({"path": "x"}, "path"), ({"deadline": 0}, "deadline")])
async def test_arguments_of_waiting_until_a_server_answers(
    server: ScriptedServer, vm: AsyncVM, arguments: Any, name: str
) -> None:
    held = await opened(server, vm)
    with pytest.raises(InvalidArgumentError, match=name):
        await held.wait_until_serving(**arguments)
    assert server.requests == []


async def test_a_request(server: ScriptedServer, vm: AsyncVM) -> None:
    held = await opened(server, vm)
    server.script(ok({"a": [1]}, status=418, X_Kind="teapot"))
    response = await held.request("post", "/pot?x=a b&y=%2F", headers={"X-Mine": "yes"}, body=b"water")
    request = server.last
    assert (request.method, request.target, request.body) == ("POST", "/pot?x=a%20b&y=%2F", b"water")
    assert request.headers["Authorization"] == f"Bearer {TUNNEL_TOKEN}"
    assert request.headers["X-Mine"] == "yes"
    assert not any(API_KEY in value for value in request.headers.values())
    assert (response.status, response.headers["x-kind"], response.json()) == (418, "teapot", {"a": [1]})
    assert response.text == '{"a":[1]}'
    server.script(Reply(body=b"\xff"))
    assert (await held.request("GET")).text == "\N{REPLACEMENT CHARACTER}"
    assert (server.last.method, server.last.target) == ("GET", "/")


async def test_a_large_body(server: ScriptedServer, vm: AsyncVM) -> None:
    held = await opened(server, vm)
    body = bytes(range(256)) * 4096 * 3 + b"the end"
    server.script(ok())
    assert (await held.request("PUT", "/large", body=memoryview(body))).status == 200
    request = server.last
    assert request.headers["Content-Length"] == str(len(body))
    assert "Transfer-Encoding" not in request.headers
    assert request.body == body


async def test_below_a_tunnel_s_own_path(server: ScriptedServer, vm: AsyncVM) -> None:
    held = await opened(server, vm, url=f"{server.url}/t/tk-1/?ignored#too")
    for path, target in [
        ("/", "/t/tk-1/"),
        ("//evil.example/x", "/t/tk-1//evil.example/x"),
        ("/@h:1/", "/t/tk-1/@h:1/"),
    ]:
        server.script(ok())
        await held.request("GET", path)
        assert server.last.target == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        *(
            (path, path)
            for path in ("/a/../b", "/./a", "/..", "/%2e%2e/%2E", "/%41%7e", "/a%2Fb", "//x", "/a;b=c,d", "/%")
        ),
        *((path, path) for path in ("/?a", "/?a=1&a=2&&", "/?q=%41+%2B%20", "/?u=http://h/../x?y", "/[a]{b}|'*\"<>^`")),
        ("/a b?c d=é", "/a%20b?c%20d=%C3%A9"),
        ("/\t\x7f\u20ac", "/%09%7F%E2%82%AC"),
    ],
)
async def test_what_is_asked_for_goes_out_as_it_is_given(
    server: ScriptedServer, vm: AsyncVM, path: str, target: str
) -> None:
    held = await opened(server, vm)
    server.script(ok())
    await held.request("GET", path)
    assert server.last.target == target


async def test_a_public_tunnel_needs_nothing(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(tunnel(url=server.url)), ok())
    held = await vm.tunnel(8080).open()
    await held.request("GET", headers={"Authorization": "Basic mine"})
    assert server.last.headers["Authorization"] == "Basic mine"


async def test_redirects_are_not_followed(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    held = await opened(server, vm)
    server.script(ok(status=302, Location=other_server.url))
    response = await held.request("GET")
    assert (response.status, response.headers["Location"]) == (302, other_server.url)
    assert other_server.requests == []


async def test_what_is_sent_again(server: ScriptedServer, vm: AsyncVM) -> None:
    held = await opened(server, vm)
    server.script(dropped(Drop.RESET), dropped(Drop.MID_BODY), ok())
    assert (await held.request("GET")).status == 200
    assert len(server.requests) == 3
    server.script(dropped(Drop.AFTER_PROCESSING))
    with pytest.raises(NetworkError) as caught:
        await held.request("POST", body=b"once")
    assert (caught.value.operation, caught.value.outcome, caught.value.attempts) == ("tunnel.request", "unknown", 1)
    assert caught.value.vm_id == "vm-1"
    server.script(error("unavailable", status=503))
    assert (await held.request("GET")).status == 503  # the answer of the program in the VM
    server.script(ok(delay=5))
    with pytest.raises(DeadlineExceededError):
        await held.request("GET", deadline=0.1)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"method": "GET /"}, "method"),
        ({"method": ""}, "method"),
        ({"path": "x"}, "path"),
        ({"path": "http://evil.example/"}, "path"),
        ({"path": "/a\r\nX: y"}, "path"),
        ({"path": "/a#b"}, "path"),
        ({"headers": {"A\nB": "c"}}, "headers"),
        ({"headers": {"A": "c\r\nX: y"}}, "headers"),
        ({"headers": {"authorization": "Bearer mine"}}, "headers"),
        ({"headers": "A: b"}, "headers"),
        ({"headers": {"content-length": "2"}, "body": b"one"}, "expected 3, the size of the body"),
        ({"headers": {"Content-Length": "3"}}, "expected 0, the size of the body"),
        ({"headers": {"Transfer-Encoding": "chunked"}, "body": b"one"}, "sent with its Content-Length"),
        ({"body": "text"}, "body"),
        ({"deadline": 0}, "deadline"),
    ],
)
async def test_arguments_of_a_request(server: ScriptedServer, vm: AsyncVM, arguments: Any, name: str) -> None:
    held = await opened(server, vm)
    given: dict[str, Any] = {"method": "GET", **arguments}
    with pytest.raises(InvalidArgumentError, match=name):
        await held.request(**given)
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://tunnel.example/", "in the clear"),
        ("ftp://tunnel.example/", "not a URL"),
        ("https://user:password@tunnel.example/", "user or password"),
        ("nonsense", "not a URL"),
    ],
)
async def test_urls_that_are_not_asked(server: ScriptedServer, vm: AsyncVM, url: str, problem: str) -> None:
    held = await opened(server, vm, url=url)
    with pytest.raises(BadReplyError, match=problem) as caught:
        await held.request("GET")
    assert "password@" not in str(caught.value)
    assert server.requests == []


async def test_no_token_shows(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    events: list[RequestEvent] = []
    async with make_client(server, hooks=Hooks(on_request=events.append)) as client:
        held = await opened(server, client.vm("vm-1"))
        with caplog.at_level(logging.DEBUG, "arker"):
            server.script(dropped(Drop.RESET), ok({"token": TUNNEL_TOKEN}))
            response = await held.request("GET", f"/?token={TUNNEL_TOKEN}")
    assert [(event.operation, event.url, event.attempt) for event in events[1:]] == [
        ("tunnel.request", f"{server.url}", 1),
        ("tunnel.request", f"{server.url}", 2),
    ]
    assert "tunnel.request: attempt 1, GET (tunnel)" in caplog.text
    assert MARK not in caplog.text + repr(events) + repr(response) + repr(held)


async def test_a_client_that_is_closed(server: ScriptedServer, client: AsyncArker) -> None:
    held = await opened(server, client.vm("vm-1"))
    await client.aclose()
    with pytest.raises(ConfigurationError, match="the client is closed"):
        await held.request("GET")


async def test_a_tunnel_that_the_server_did_not_delete_is_told_of(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(tunnel()), ok({"deleted": False}))
    with pytest.raises(InternalError, match="was not deleted"):
        async with vm.tunnel(80, wait=False):
            pass


async def test_a_reply_that_tells_nothing_of_the_tunnel(server: ScriptedServer, vm: AsyncVM) -> None:
    server.answer(ok({}))
    with pytest.raises(BadReplyError) as caught:
        await vm.create_tunnel(ports=[80])
    assert (caught.value.outcome, len(server.requests)) == ("applied", 1)
    with pytest.raises(BadReplyError):
        await vm.get_tunnel("k")
