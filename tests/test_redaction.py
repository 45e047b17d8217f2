"""The API key in replies: it is in no error, no log and no repr."""

from __future__ import annotations

import html
import json
from typing import Final
from urllib.parse import quote

import pytest

from arker import (
    ApiError,
    ArkerError,
    AsyncArker,
    InternalError,
    NotFoundError,
)
from arker._transport.http.replies import EXCERPT
from arker._transport.redaction import Redactor
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY, MARK, Detector
from tests.support.server import Reply, ScriptedServer, error, ok

pytestmark = pytest.mark.anyio

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


@pytest.mark.parametrize("before", range(270, 301, 3))
async def test_no_part_of_the_key_is_left_at_a_cut(server: ScriptedServer, before: int) -> None:
    server.answer(Reply(status=500, body=b"x" * before + API_KEY.encode() + b"y" * 300))
    async with make_client(server, retry=False) as client:
        with pytest.raises(ApiError) as caught:
            await client.vm("v").refresh()
    assert API_KEY[:4] not in caught.value.message
    assert len(caught.value.message) <= 300
