"""No secret ever shows (contract, section 8): neither here nor anywhere in the suite, and the watch for it works.

The watch itself is in `tests/support/secrets.py`; a fixture of `conftest.py` keeps it on duty during every test.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import pickle
import traceback
from typing import Any

import aiohttp
import attrs
import orjson
import pytest

from arker import ApiError, ArkerError, AsyncArker, AsyncVM, BadReplyError, ConfigurationError, NetworkError
from arker._protocol.codec.codec import structure
from arker._protocol.request import Call, Request
from arker.models import SyncReadPresignedResponse, Tunnel, Vm
from tests.support.clients import make_client
from tests.support.samples import FULL, completed, full
from tests.support.secrets import API_KEY, DETECTOR, MARK, SIGNATURE, TUNNEL_TOKEN, Detector
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok

# --- the detector detects --------------------------------------------------------------------------------------------


def test_the_watch_is_on_duty(watch: Detector) -> None:
    assert watch is DETECTOR
    before = watch.looked_at
    logging.getLogger("somebody").debug("harmless")
    assert watch.looked_at > before


@pytest.mark.parametrize("name", ["arker", "arker.deeper", "aiohttp.client", "asyncio", "anything", ""])
@pytest.mark.parametrize("secret", [API_KEY, SIGNATURE, TUNNEL_TOKEN])
def test_it_sees_log_records(watch: Detector, name: str, secret: str) -> None:
    logger = logging.getLogger(name)
    with watch.expecting() as leaks:
        logger.debug("Authorization: Bearer %s", secret)
    assert len(leaks) == 2
    with watch.expecting() as leaks:
        logger.info("only among the arguments: %.3s", secret)
    assert len(leaks) == 1
    with watch.expecting() as leaks:
        try:
            raise ValueError(secret)
        except ValueError:
            logger.exception("in a traceback")
    assert len(leaks) == 1


def test_it_sees_errors(watch: Detector) -> None:
    def leak(secret: str) -> None:
        try:
            raise NetworkError("lost", request_id=secret)
        except NetworkError:
            pass

    with watch.expecting() as leaks:
        leak("harmless")
        gc.collect()
    assert not leaks
    with watch.expecting() as leaks:
        leak(API_KEY)
        gc.collect()
    assert {leak.partition(":")[0] for leak in leaks} == {
        "str of NetworkError",
        "repr of NetworkError",
        "traceback of NetworkError, at NetworkError",
    }


@pytest.mark.parametrize("link", ["cause", "context"])
def test_it_sees_what_an_error_came_from(watch: Detector, link: str) -> None:
    def leak() -> None:
        try:
            try:
                raise ValueError(SIGNATURE)
            except ValueError as inner:
                if link == "cause":
                    raise ConfigurationError("outer") from inner
                raise ConfigurationError("outer")  # noqa: B904 - that is the case to see
        except ConfigurationError:
            pass

    with watch.expecting() as leaks:
        leak()
        gc.collect()
    assert any("at ValueError" in found for found in leaks)


def test_it_sees_models_and_calls(watch: Detector) -> None:
    with watch.expecting() as leaks:
        from arker._protocol.codec import codec

        codec.structure({"vm_id": API_KEY}, Vm)
    assert len(leaks) == 1
    with watch.expecting() as leaks:
        Call(API_KEY, Request("GET", "http://h", "/"), lambda payload, _: payload)
        Call("x", Request("GET", "http://h", f"/{API_KEY}"), lambda payload, _: payload)
    assert {leak.partition(":")[0] for leak in leaks} == {"repr of Call", "repr of Request"}


def test_it_sees_clients_and_handles(watch: Detector) -> None:
    with watch.expecting() as leaks:
        client = AsyncArker("k", base_url=f"https://h/{API_KEY}")
        client.vm("v")
    assert {leak.partition(":")[0] for leak in leaks} == {"repr of Settings", "repr of AsyncArker", "repr of AsyncVM"}


def test_what_it_found_fails_a_test_and_is_not_spread(watch: Detector) -> None:
    with watch.expecting():
        logging.getLogger("x").debug("before %s after", API_KEY)
        with pytest.raises(AssertionError, match="secrets showed") as caught:
            watch.verify()
    assert MARK not in str(caught.value)
    watch.verify()


# --- nothing shows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", list(FULL), ids=[cls.__name__ for cls in FULL])
def test_models_show_no_secret(cls: type[Any]) -> None:
    assert MARK not in repr(structure(full(cls), cls))


def test_the_secrets_are_there_all_the_same() -> None:
    assert structure(full(Tunnel), Tunnel).auth_token == TUNNEL_TOKEN
    assert SIGNATURE in structure(full(SyncReadPresignedResponse), SyncReadPresignedResponse).presigned_url


def test_a_client_cannot_be_tricked_into_showing_its_key() -> None:
    client = AsyncArker(API_KEY, base_url="https://h")
    for shown in (repr(client), str(client), f"{client}", repr(client.vm("v")), repr(vars(client))):
        assert MARK not in shown
    settings = client._settings  # pyright: ignore[reportPrivateUsage]
    assert MARK not in repr(settings)
    assert settings.api_key == API_KEY
    assert not attrs.fields_dict(type(settings))["api_key"].repr


def with_locals(error: BaseException) -> str:
    """Return a traceback as error trackers show it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize(
    "wrong", [{"region": "no region"}, {"base_url": "ftp://h"}, {"retry": 3}, {"ledger": b"x"}, {"generation": "7"}]
)
def test_a_key_of_the_environment_is_no_local_variable(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARKER_API_KEY", API_KEY)
    with pytest.raises(ArkerError) as caught:
        AsyncArker(**wrong)
    shown = with_locals(caught.value)
    assert "load_settings" in shown
    assert MARK not in shown


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.anyio
async def test_a_key_is_no_local_variable_of_what_is_cancelled(server: ScriptedServer, is_own: bool) -> None:
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer(_: Recorded) -> Reply:
        loop.call_soon_threadsafe(arrived.set)
        return ok({"vm_id": "v"}, delay=60.0)

    server.answer(answer)
    async with (
        aiohttp.ClientSession() as session,
        make_client(server, session=None if is_own else session) as client,
    ):
        task = asyncio.ensure_future(client.get_vm("v"))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    shown = with_locals(caught.value)
    assert "Authorization" in shown
    assert MARK not in shown


async def failing(server: ScriptedServer, reply: Reply) -> ArkerError:
    async with make_client(server, retry=False, strict_replies=True) as client:
        server.script(reply)
        with pytest.raises(ArkerError) as caught:
            await client.vm("v").run("true")
    return caught.value


@pytest.mark.parametrize(
    "reply",
    [
        error("bad_request", f"the key {API_KEY} is not nice", status=400),
        error(API_KEY, "m", status=400),
        ok({"error": {"code": "x", "message": API_KEY}}, status=401),
        error("x", "m", status=400, X_Request_Id=API_KEY),
        Reply(status=500, body=f"<html>Authorization: Bearer {API_KEY}</html>".encode()),
        Reply(body=API_KEY.encode()),
        ok({API_KEY: API_KEY}),
        ok({**completed(), "stdout_encoding": API_KEY}),
        ok({"run_id": "r", "tunnels": [{API_KEY: 1}]}),
        Reply(status=307, headers={"Location": f"http://h/{API_KEY}"}),
        Reply(raw=f"HTTP/1.1 {API_KEY}\r\n\r\n".encode()),
        Reply(raw=f"{API_KEY}\r\n\r\n".encode()),
        Reply(raw=f"HTTP/1.1 200 OK\r\nContent-Length: {API_KEY}\r\n\r\n".encode()),
    ],
)
@pytest.mark.anyio
async def test_a_server_that_repeats_the_key(server: ScriptedServer, reply: Reply) -> None:
    raised = await failing(server, reply)
    shown = f"{raised}{raised!r}{raised.args}{vars(raised)}{pickle.dumps(raised)!r}"
    assert MARK not in shown


@pytest.mark.anyio
async def test_an_env_key_that_is_the_api_key(server: ScriptedServer) -> None:
    """The place in a payload that an error names is made of the payload's own keys."""
    server.script(ok({"vm_id": "v", "sessions": [{"session_id": "s", "state": "x", "cwd": "/", "env": {API_KEY: 1}}]}))
    async with make_client(server, strict_replies=True) as client:
        with pytest.raises(BadReplyError) as caught:
            await client.get_vm("v")
    assert caught.value.path == "$.sessions[0].env['[redacted]']"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=403, body=f"<Error><Code>X</Code><S>{SIGNATURE}</S></Error>".encode()),
        Reply(status=500, body=SIGNATURE.encode()),
        Reply(status=400, body=f"<Code>{SIGNATURE}</Code>".encode()),
        Reply(body=b"too short"),
        dropped(Drop.AFTER_PROCESSING),
        Reply(raw=SIGNATURE.encode()),
        Reply(status=302, headers={"Location": f"http://127.0.0.1:9/{SIGNATURE}"}),
        Reply(status=302, headers={"Location": f"http://[{SIGNATURE}"}),
    ],
)
@pytest.mark.anyio
async def test_an_object_store_that_repeats_the_signature(
    server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM, reply: Reply
) -> None:
    url = f"{other_server.url}/o?X-Signature={SIGNATURE}"
    server.answer(ok({"path": "f", "size": 5, "presigned_url": url, "expires_in": 9}))
    other_server.answer(reply)
    with pytest.raises((ApiError, NetworkError)) as caught:
        await vm.sync("f")
    assert SIGNATURE not in f"{caught.value}{caught.value!r}{caught.value.args}{vars(caught.value)}"


@pytest.mark.anyio
async def test_a_damaged_presigned_url_is_not_quoted(server: ScriptedServer, vm: AsyncVM) -> None:
    for url in (f"http://[{SIGNATURE}", f"http://h:{SIGNATURE}/", f"{SIGNATURE}", f"ftp://h/{SIGNATURE}"):
        server.script(ok({"path": "f", "size": 5, "presigned_url": url, "expires_in": 9}))
        with pytest.raises(BadReplyError) as caught:
            await vm.sync("f")
        assert SIGNATURE not in f"{caught.value}{caught.value!r}"


def test_nothing_in_the_output_of_a_debugging_loop(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.0
        async with make_client(server) as client:
            server.script(error("unavailable", status=503), ok({"vm_id": "v"}), ok(completed()), ok({"deleted": True}))
            async with await client.fork("ubuntu") as vm:
                await vm.run("true")

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main(), debug=True)
    assert "vm.run: attempt 1, POST /v1/vms/v/runs: done" in caplog.text
    assert MARK not in caplog.text


@pytest.mark.anyio
async def test_quiet_by_default(server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture) -> None:
    """At the level of warnings, which is Python's default, a call that works says nothing."""
    server.script(error("unavailable", status=503), ok(completed()))
    with caplog.at_level(logging.WARNING, "arker"):
        await vm.run("true")
    assert not caplog.records


def test_the_samples_hold_secrets() -> None:
    """Else the tests above would prove nothing."""
    assert MARK in orjson.dumps([full(cls) for cls in (Tunnel, SyncReadPresignedResponse)]).decode()


@pytest.mark.anyio
async def test_a_key_across_the_end_of_an_excerpt(server: ScriptedServer) -> None:
    for at in range(300 - len(API_KEY), 300):
        body = json.dumps({"message": "x" * at + API_KEY + "y" * 50}).encode()
        raised = await failing(server, Reply(status=502, body=body))
        assert API_KEY[:6] not in raised.message
