"""Replies of a server that has moved on: what is read of them, what is demanded, and what is told of the rest."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from arker import (
    ArkerError,
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
from arker._protocol.reply import api_error
from arker._protocol.retryable import is_overload, is_proof_of_refusal, is_retryable_answer
from arker.errors import ConflictError, NotFoundError, RateLimitedError, Recovery, RunFailedError, UnavailableError
from arker.models import ListRunsResponse, ListVmsResponse, SyncReadInlineResponse
from tests.ledger.support import select
from tests.support.clients import make_client
from tests.support.samples import completed, full
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok

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


# --- forks -----------------------------------------------------------------------------------------------------------


async def test_a_fork_whose_reply_names_no_id_is_asked_again_once_with_its_key(
    server: ScriptedServer, client: AsyncArker
) -> None:
    server.script(Reply(body=b"<html>welcome</html>"), ok({"vm_id": "v"}))
    assert (await client.fork("ubuntu")).id == "v"
    first, second = server.requests
    assert (first.key, first.body) == (second.key, second.body)
    assert first.key is not None


@pytest.mark.parametrize("reply", [Reply(body=b"<html>"), Reply(status=204), ok({"vm_id": 7}), ok([])])
async def test_it_is_not_asked_a_third_time(server: ScriptedServer, client: AsyncArker, reply: Reply) -> None:
    server.script(reply, reply)
    with pytest.raises(BadReplyError) as caught:
        await client.fork("ubuntu")
    assert caught.value.outcome in ("unknown", "applied")
    assert caught.value.attempts == 2
    assert caught.value.idempotency_key == server.requests[0].key


async def test_a_vm_whose_reply_is_refused_is_deleted(server: ScriptedServer) -> None:
    async with make_client(server, strict_replies=True) as client:
        server.script(ok({"vm_id": "v", "network": 1}), ok({"deleted": True}))
        with pytest.raises(BadReplyError) as caught:
            await client.fork("ubuntu")
    assert (server.last.method, server.last.path.rpartition("/")[2]) == ("DELETE", "v")
    assert caught.value.vm_id == "v"


async def test_an_error_carries_the_ids_that_the_reply_names(server: ScriptedServer, client: AsyncArker) -> None:
    said = {"code": "operation_failed", "message": "m", "recovery": {"work": "continuing", "context": {"vm_id": "v9"}}}
    server.script(ok({"error": said}, status=422))
    with pytest.raises(Exception, match="operation_failed") as caught:
        await client.fork("ubuntu")
    assert (caught.value.vm_id, caught.value.outcome, caught.value.work) == ("v9", "unknown", "continuing")  # type: ignore[attr-defined]


# --- acknowledgements ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "deleted"),
    [
        (Reply(status=204), True),
        (ok({}), True),
        (ok({"state": "deleting"}, status=202), True),
        (ok({"deleted": "true"}), True),
        (ok({"data": {"deleted": True}}), True),
        (ok([]), True),
        (Reply(body=b"OK"), True),
        (ok({"code": "accepted", "message": "it will be gone soon"}, status=202), True),
        (ok({"code": "success", "message": "m", "error": None}), True),
        (ok({"code": "done", "message": "m", "deleted": False}), False),
        (ok({"deleted": False}), False),
        (ok({"data": {"deleted": False}}), False),
        (Reply(body=b"false"), False),
    ],
)
async def test_success_is_success_unless_it_says_false(
    server: ScriptedServer, vm: AsyncVM, reply: Reply, deleted: bool
) -> None:
    server.script(reply)
    assert (await vm.delete()).deleted is deleted


@pytest.mark.parametrize(
    "payload",
    [
        {"code": "not_found", "message": "m"},
        {"code": "internal", "message": "m"},
        {"code": "invalid_state", "message": "m"},
        {"error": {"code": "accepted", "message": "m"}},
        {"code": "success", "message": "m", "error": {"code": "forbidden", "message": "m"}},
    ],
)
async def test_an_error_in_a_reply_of_success_is_one(server: ScriptedServer, vm: AsyncVM, payload: Any) -> None:
    server.script(ok(payload))
    with pytest.raises(ArkerError):
        await vm.delete()


async def test_a_page_of_html_acknowledges_nothing(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(Reply(body=b"<html>log in</html>"))
    with pytest.raises(BadReplyError) as caught:
        await vm.delete()
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("attempt", [Reply(status=502, body=b"<html>"), Reply(status=504)])
@pytest.mark.parametrize("page", [Reply(status=404), Reply(status=404, body=b"<html>not found</html>")])
async def test_a_proxy_s_page_does_not_prove_that_an_earlier_attempt_has_deleted_it(
    server: ScriptedServer, tmp_path: Path, attempt: Reply, page: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told as a success, but the VM stays on record, and the log says so."""
    ledger, gone = tmp_path / "ledger.sqlite3", ok({"vm_id": "v-2"})
    client = make_client(server, ledger=ledger)
    server.script(ok({"vm_id": "v-1"}), attempt, page)
    assert (await (await client.fork("ubuntu")).delete()).deleted
    assert "VM v-1 may still exist" in caplog.text
    server.script(gone, attempt, error("not_found", status=404))
    assert (await (await client.fork("ubuntu")).delete()).deleted
    server.script(attempt, page)
    assert (await client.vm("v-3").delete_session("s")).deleted
    assert "/v1/vms/v-3/sessions/s may still exist" in caplog.text
    await client.aclose()
    assert select(ledger) == ["v-1"]


# --- what an answer proves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "from_service", "proof"),
    [
        ("conflict", 409, True, True),
        ("rate_limited", 429, True, True),
        ("unavailable", 503, True, True),
        ("not_found", 200, True, True),
        ("internal", 500, True, False),
        ("internal", 200, True, False),
        ("request_timeout", 408, True, False),
        ("too_early", 425, True, False),
        ("x", 499, True, False),
        ("gateway_timeout", 504, True, False),
        ("unavailable", 503, False, False),
        ("not_found", 404, False, False),
        ("rate_limited", 429, False, False),
    ],
)
def test_only_the_service_s_own_refusal_is_proof(code: str, status: int, from_service: bool, proof: bool) -> None:
    said = api_error(code, "m", status=status, from_service=from_service)
    assert is_proof_of_refusal(said) is proof
    said.recovery = Recovery(work="not_started")
    assert is_proof_of_refusal(said)
    said.recovery = Recovery(work="continuing")
    assert not is_proof_of_refusal(said)


@pytest.mark.parametrize("code", ["quota_exceeded", "payment_required", "action_required"])
def test_what_stays_refused_is_not_tried_again(code: str) -> None:
    for status in (402, 403, 429, 503):
        assert not is_retryable_answer(status, code, "m")
        assert not is_overload(status, code, "m")


def test_capacity_is_waited_for_whatever_the_status() -> None:
    for status in (200, 409, 500, 503):
        assert is_retryable_answer(status, "capacity_unavailable", "m")


async def test_a_session_is_not_posted_again_after_an_answer_that_proves_nothing(
    server: ScriptedServer, vm: AsyncVM
) -> None:
    server.script(Reply(status=503, body=b"upstream connect error"))
    with pytest.raises(UnavailableError) as caught:
        await vm.create_session()
    assert (caught.value.attempts, caught.value.outcome) == (1, "unknown")
    server.script(error("unavailable", status=503), ok({"session_id": "s"}))
    assert (await vm.create_session()).session_id == "s"


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"<html>Not Found</html>", NotFoundError, "<html>Not Found</html>"),
        (b'{"error": "VM not found"}', NotFoundError, "VM not found"),
        (b'{"errors": [{"code": "not_found", "message": "x"}]}', NotFoundError, "x"),
        (b'{"code": 404, "message": "x"}', NotFoundError, "x"),
        (b'{"type": "about:blank", "title": "Gone", "detail": "no such VM"}', NotFoundError, "no such VM"),
        (b"", NotFoundError, "HTTP 404"),
    ],
)
async def test_an_error_without_the_contract_s_body_has_the_class_of_its_status(
    server: ScriptedServer, client: AsyncArker, body: bytes, kind: type[Exception], message: str
) -> None:
    server.script(Reply(status=404, body=body))
    with pytest.raises(kind) as caught:
        await client.get_vm("v")
    assert isinstance(caught.value, NotFoundError)
    assert (caught.value.message, caught.value.from_service) == (message, False)


async def test_hints_in_a_body_are_read(server: ScriptedServer, client: AsyncArker) -> None:
    said = {"code": "conflict", "message": "m", "request_id": "req-1", "retry_after_seconds": 7, "details": {"a": 1}}
    server.script(ok({"error": said}, status=409))
    with pytest.raises(ConflictError) as caught:
        await client.get_vm("v")
    assert (caught.value.request_id, caught.value.retry_after, caught.value.details) == ("req-1", 7.0, {"a": 1})
    server.script(ok({"error": {**said, "code": "rate_limited", "retry_after_seconds": 61}}, status=429))
    with pytest.raises(RateLimitedError):
        await client.get_vm("v")  # longer than is waited for


# --- runs that are followed ------------------------------------------------------------------------------------------

GOING = ok({"runs": [{"run_id": "r", "state": "running", "command": "x", "session_id": "s"}]})
END = {"run_id": "r", "state": "completed", "exit_code": 0, "stdout": "hi", "stderr": ""}


@pytest.mark.parametrize("state", ["running", "pending"])
async def test_a_foreground_run_that_goes_on_is_followed(server: ScriptedServer, vm: AsyncVM, state: str) -> None:
    server.script(ok({"run_id": "r", "state": state}, status=202), GOING, ok({"runs": []}), ok(END))
    result = await vm.run("x", check=True)
    assert (result.stdout, result.exit_code, result.run_id, result.state) == (b"hi", 0, "r", "completed")
    if state == "pending":
        assert "pending" in server.requests[1].query


async def test_a_reply_that_has_no_output_but_names_the_run_is_followed(server: ScriptedServer, vm: AsyncVM) -> None:
    moved = {"run_id": "r", "state": "completed", "exit_code": 0, "stderr": "", "output": {"stdout": "hi"}}
    server.script(ok(moved), ok(END))
    assert (await vm.run("x")).stdout == b"hi"
    server.script(ok({"run_id": "r", "state": "completed", "exit_code": 0, "stdout": "hi"}), ok(END))
    assert (await vm.run("x")).stdout == b"hi"
    server.script(ok({**moved, "stdout": None}))
    assert (await vm.run("x")).stdout == b""


@pytest.mark.parametrize(("there", "absent"), [("stdout", "stderr"), ("stderr", "stdout")])
async def test_an_output_that_is_nowhere_is_an_error_with_the_other_one(
    server: ScriptedServer, vm: AsyncVM, there: str, absent: str
) -> None:
    server.script(ok({"state": "completed", "exit_code": 0, there: "written"}))
    with pytest.raises(BadReplyError) as caught:
        await vm.run("x")
    assert (caught.value.path, caught.value.outcome) == (f"$.{absent}", "applied")
    assert (getattr(caught.value, there), getattr(caught.value, absent)) == (b"written", b"")


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(status=425, body=b"<html>"),
        error("bad_request", status=400),
        error("not_found", status=404),
        Reply(status=302),
        Reply(status=500),
    ],
)
async def test_a_run_that_was_followed_in_vain_was_started(server: ScriptedServer, vm: AsyncVM, trouble: Reply) -> None:
    """The run goes on, whatever the questions about it are answered."""

    def answer(request: Recorded) -> Reply:
        if request.method == "POST":
            return ok({"run_id": "r", "state": "running"}, status=202)
        return ok({"vm_id": "v"}) if request.path.endswith("vm-1") else trouble

    server.answer(answer)
    with pytest.raises(ArkerError) as caught:
        await vm.run("x")
    assert (caught.value.outcome, caught.value.run_id, caught.value.operation) == ("applied", "r", "vm.run")


async def test_success_in_another_word(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({**completed("x"), "state": "succeeded"}))
    assert (await vm.run("x", check=True)).state == "succeeded"
    server.script(ok({**completed("x"), "exit_code": None}))
    with pytest.raises(RunFailedError, match="has no exit code"):
        await vm.run("x", check=True)


async def test_ten_replies_without_a_state_end_the_following(server: ScriptedServer, vm: AsyncVM) -> None:
    run = vm.attach_run("r")
    counted: list[Any] = []

    def answer(request: Any) -> Reply:
        if request.path.endswith("/runs"):
            return ok({"runs": []})
        counted.append(request)
        return (
            ok({**END, "state": "running", "exit_code": None, "stdout": "so far"})
            if len(counted) == 1
            else ok({"x": 1})
        )

    server.answer(answer)
    with pytest.raises(BadReplyError) as caught:
        await run.wait()
    assert len(counted) == 11
    assert (caught.value.run_id, caught.value.stdout) == ("r", b"so far")


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
