"""Replies of a server that has moved on: what is read of them, what is demanded, and what is told of the rest."""

from __future__ import annotations

import json
import logging
import pickle
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadReplyError,
    CompletedRunResult,
    Run,
    RunSummary,
    Session,
    Vm,
)
from arker._protocol.codec.hooks import Misfit
from arker._protocol.reader import NOTHING, Reader, id_in, salvaged_vm_id
from arker.models import ListRunsResponse, ListVmsResponse, SyncReadInlineResponse
from tests.support.clients import make_client
from tests.support.samples import full
from tests.support.server import Reply, ScriptedServer, ok

pytestmark = pytest.mark.anyio
READER = Reader()

# --- what fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("network", {"mode": "open"}, None),
        ("network", "open", None),
        ("network", {"type": "allow", "allow": [{"host": "a"}]}, None),
        ("vcpu_count", "2", None),
        ("memory_mib", 1024.0, None),
        ("public", "false", None),
        ("state", {"phase": "idle"}, None),
        ("created_at", 1767225600, None),
        ("sessions", {"s0": {}}, ()),
        ("sessions", ["s0"], ()),
        ("tunnels", ["https://x"], ()),
    ],
)
def test_a_field_that_does_not_fit_is_kept_as_it_came(field: str, raw: object, value: object) -> None:
    vm = READER.structure({"vm_id": "v", "region": "r", field: raw}, Vm)
    assert (vm.vm_id, vm.region, getattr(vm, field)) == ("v", "r", value)
    assert vm.misfits == {field: raw}
    assert pickle.loads(pickle.dumps(vm)).misfits == {field: raw}
    with pytest.raises(Misfit):
        Reader(strict=True).structure({"vm_id": "v", field: raw}, Vm)


def test_what_fits_has_no_misfits() -> None:
    assert READER.structure(full(Vm), Vm).misfits == {}
    assert READER.structure({"vm_id": "v", "misfits": {"a": 1}}, Vm).misfits == {}


def test_a_model_inside_keeps_its_own_misfits() -> None:
    vm = READER.structure({"vm_id": "v", "sessions": [{"session_id": "s", "cwd": 7, "env": {"A": 1}}]}, Vm)
    assert vm.misfits == {}
    assert (vm.sessions[0].cwd, vm.sessions[0].env) == (None, None)
    assert vm.sessions[0].misfits == {"cwd": 7, "env": {"A": 1}}


def test_sizes_of_newer_servers() -> None:
    vm = READER.structure({"vm_id": "v", "resources": {"vcpu": 2, "memory_mib": 512, "disk_mib": 9}}, Vm)
    assert (vm.vcpu_count, vm.memory_mib, vm.disk_mib) == (2, 512, 9)
    assert READER.structure({"vm_id": "v", "vcpu_count": 4, "resources": {"vcpu": 2}}, Vm).vcpu_count == 4


@pytest.mark.parametrize("payload", [{}, {"vm_id": 7}, {"vm_id": None, "id": 4}, [], "v"])
def test_an_id_is_indispensable(payload: Any) -> None:
    with pytest.raises(Misfit):
        READER.structure(payload, Vm)


def test_rows_are_given_with_what_fits() -> None:
    page = READER.structure({"vms": [{"vm_id": "a"}, "b", {"vm_id": 5, "name": "n"}, {"name": 3}]}, ListVmsResponse)
    assert [(vm.vm_id, vm.name) for vm in page] == [("a", None), ("", None), ("", "n"), ("", None)]
    assert [dict(vm.misfits) for vm in page] == [{}, {"": "b"}, {"vm_id": 5}, {"name": 3}]
    runs = READER.structure(
        {"runs": [{"run_id": "r", "state": "pending"}, {"run_id": "q", "started_at": 5}]}, ListRunsResponse
    )
    assert [(run.run_id, run.state, run.started_at) for run in runs] == [("r", "pending", None), ("q", None, None)]
    with pytest.raises(Misfit):
        READER.structure({}, ListVmsResponse)


@pytest.mark.parametrize(
    ("output", "stdout", "stderr"),
    [
        ({"stdout": "hi"}, b"hi", b""),
        ({"stdout": "hi", "stdout_encoding": "UTF-8"}, b"hi", b""),
        ({"stdout": "hi", "stdout_encoding": 8}, b"hi", b""),
        ({"stdout": None, "stderr": "e"}, b"", b"e"),
        ({"stdout": "hi", "stderr": None}, b"hi", b""),
        ({"stdout": "aGk", "stdout_encoding": "base64"}, b"hi", b""),
        ({"stdout": "_-8", "stdout_encoding": "base64"}, b"\xff\xef", b""),
        ({"stdout": "aGkK\naGkK", "stdout_encoding": "base64"}, b"hi\nhi\n", b""),
        ({"stdout": "a\udcffb"}, b"a\xffb", b""),
    ],
)
def test_the_output_is_not_lost(output: dict[str, Any], stdout: bytes, stderr: bytes) -> None:
    result = READER.structure({"stderr": "", **output}, CompletedRunResult)
    assert (result.stdout, result.stderr, result.exit_code) == (stdout, stderr, None)


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"stdout": None},
        {"stdout": 7, "stderr": ""},
        {"stdout": "?", "stdout_encoding": "base64", "stderr": ""},
        {"stdout": "x", "stdout_encoding": "rot13", "stderr": ""},
        {"stdout": "x"},
        {"stderr": ""},
        {"stderr": "e", "output": {"stdout": "x"}},
        {"stdout": None, "stderr": None},
    ],
)
def test_an_output_that_cannot_be_read_is_an_error(output: dict[str, Any]) -> None:
    """One that is absent is not empty: what it was is somewhere else, or nowhere."""
    with pytest.raises(Misfit):
        READER.structure(output, CompletedRunResult)
    with pytest.raises(Misfit):
        READER.structure({"run_id": "r", "state": "completed", **output}, Run)


def test_a_run_that_goes_on_needs_no_output() -> None:
    assert READER.structure({"run_id": "r", "state": "running"}, Run).stdout == b""
    with pytest.raises(Misfit):
        READER.structure({"run_id": "r", "state": "completed"}, Run)


def test_each_field_is_told_of_once() -> None:
    told: list[tuple[str, str]] = []
    reader = Reader(tell=lambda model, field: told.append((model, field)))
    for _ in range(3):
        reader.structure({"vm_id": "v", "network": 1, "sessions": [{"session_id": "s", "cwd": 1}]}, Vm)
    assert sorted(told) == [("Session", "cwd"), ("Vm", "network")]


async def test_the_log_says_so_once_for_each_client(
    server: ScriptedServer, client: AsyncArker, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer(ok({"vm_id": "v", "network": {"mode": 1}}))
    for _ in range(3):
        await client.get_vm("v")
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert "Vm.network" in said[0]


async def test_strict_replies(server: ScriptedServer) -> None:
    async with make_client(server, strict_replies=True) as client:
        server.script(ok({"vm_id": "v", "network": {"mode": 1}}))
        with pytest.raises(BadReplyError) as caught:
            await client.get_vm("v")
        assert caught.value.path == "$.network.type"


# --- texts that are nearly JSON, and envelopes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + b'{"vm_id": "v"}',
        b'{"vm_id": "v", "load": NaN}',
        b'{"vm_id": "v", "note": "\\ud800"}',
        b'{"vm_id": "v", "note": "\xff"}',
        b'{"vm_id": "v", "quota": 1' + b"0" * 5000 + b"}",
        b'{"vm_id": "v"}\n{}\n',
    ],
)
def test_a_text_that_is_nearly_json(body: bytes) -> None:
    assert id_in(READER.value(body), ("vm_id",)) == "v"
    assert READER.structure(READER.value(body), Vm).vm_id == "v"


@pytest.mark.parametrize("body", [b"<html>", b"ok", b"{", b"01JVM"])
def test_what_is_no_json(body: bytes) -> None:
    assert READER.value(body) is NOTHING
    assert salvaged_vm_id(body) is None


def test_an_id_is_salvaged_of_a_text_that_was_cut() -> None:
    assert salvaged_vm_id(b'{"vm_id": "v-1", "name": "x') == "v-1"
    assert salvaged_vm_id(b'{"vm_id": "..", ') is None
    assert salvaged_vm_id(b'<a title=\'"vm_id": "v"\'>') is None


@pytest.mark.parametrize(
    "payload",
    [
        {"data": {"vm_id": "v"}},
        {"vm": {"id": "v"}},
        {"data": {"vm": {"vm_id": "v"}}},
        [{"vm_id": "v"}],
        {"data": [{"vm_id": "v"}]},
        {"vm_id": "v", "error": {"code": "tunnel_failed", "message": "m"}},
        {"vm_id": "v", "code": "created", "message": "made"},
        {"vm_id": "v", "error": None},
    ],
)
async def test_a_handle_comes_of_a_reply_that_holds_a_vm(
    server: ScriptedServer, client: AsyncArker, payload: Any
) -> None:
    server.script(ok(payload), ok(payload))
    assert (await client.fork("ubuntu")).id == "v"
    assert (await client.get_vm("v")).id == "v"


@pytest.mark.parametrize(
    "payload",
    [
        {"run": {"run_id": "r", "id": "r"}, "state": "idle"},
        {"session": {"session_id": "s", "id": "s"}},
        {"data": {"run": {"id": "r"}}},
        {"vm": {"session": {"id": "s"}}},
    ],
)
async def test_the_id_of_another_thing_is_not_taken_for_the_vm_s(
    server: ScriptedServer, client: AsyncArker, payload: Any
) -> None:
    server.script(ok(payload), ok({"vm_id": "v"}))
    assert (await client.fork("ubuntu")).id == "v"
    server.script(ok(payload))
    with pytest.raises(BadReplyError):
        await client.get_vm("v")


def test_unknown_states_are_not_final() -> None:
    from arker._runs.poll import has_ended

    assert not has_ended(RunSummary(run_id="r", state="hibernated"))
    assert not has_ended(RunSummary(run_id="r", state="pending", exit_code=0))
    assert has_ended(RunSummary(run_id="r", state="succeeded", exit_code=0))


def test_a_session_without_a_directory() -> None:
    assert READER.structure({"session_id": "s"}, Session).cwd is None


def test_the_size_of_a_file_is_that_of_its_content() -> None:
    read = READER.structure({"content": "hi", "size": "2", "encoding": "utf8"}, SyncReadInlineResponse)
    assert (read.content, read.size, read.misfits) == (b"hi", None, {"size": "2"})


@pytest.mark.parametrize("encoding", [{}, {"encoding": None}, {"encoding": 64}])
@pytest.mark.parametrize("size", [{}, {"size": None}, {"size": "5"}, {"size": True}, {"size": 5.0}])
async def test_a_content_of_which_nothing_tells_what_it_is(
    server: ScriptedServer, vm: AsyncVM, encoding: dict[str, Any], size: dict[str, Any]
) -> None:
    """Without an encoding, base64 must not be taken for a text: the size tells that, if it is there."""
    server.script(ok({"path": "/f", "content": "aGVsbG8=", **encoding, **size}))
    with pytest.raises(BadReplyError):
        await vm.sync("/f")
    server.script(ok({"path": "/f", "content": "aGVsbG8=", "size": 5, **encoding}))
    with pytest.raises(BadReplyError):
        await vm.sync("/f")
    server.script(ok({"path": "/f", "content": "hello", "size": 5, **encoding}))
    assert await vm.sync("/f") == b"hello"


def test_the_wire_of_a_reply_is_json() -> None:
    assert READER.value(json.dumps({"a": [1]}).encode()) == {"a": [1]}


async def test_a_tunnel_with_a_url_is_open_whatever_its_state_is_called(server: ScriptedServer, vm: AsyncVM) -> None:
    tunnel = {"tunnel_key": "k", "port": 80, "state": "ready", "url": "https://t.example"}
    server.script(ok(tunnel), Reply(status=204))
    async with vm.tunnel(80) as opened:
        assert (opened.state, opened.url) == ("ready", "https://t.example")
