"""Replies of a server that has moved on: forks, acknowledgements, what an answer proves, and runs that are followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arker import (
    ApiError,
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    CompletedRunResult,
)
from arker._protocol.reply import api_error
from arker._protocol.retryable import is_overload, is_proof_of_refusal, is_retryable_answer
from arker.errors import ConflictError, NotFoundError, RateLimitedError, Recovery, RunFailedError
from tests.ledger.support import select
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok

pytestmark = pytest.mark.anyio


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
        assert not is_overload(status, code, "m", from_service=True)


@pytest.mark.parametrize(
    ("code", "message"), [("internal", "do not throttle"), ("resource_pressure", "m"), ("rate_limited", "m")]
)
def test_only_the_service_s_own_words_report_overload(code: str, message: str) -> None:
    for status in (200, 400, 403, 500, 502, 503):
        assert is_overload(status, code, message, from_service=True)
        assert not is_overload(status, code, message, from_service=False)
    assert is_overload(429, code, message, from_service=False)


def test_capacity_is_waited_for_whatever_the_status() -> None:
    for status in (200, 409, 500, 503):
        assert is_retryable_answer(status, "capacity_unavailable", "m")


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


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 501, 502, 503, 504])
@pytest.mark.parametrize(("body", "message"), [(b"<p>" + b"x" * 400, "<p>" + "x" * 297), (b"", None)])
async def test_the_code_of_a_reply_without_one_is_internal(
    server: ScriptedServer, status: int, body: bytes, message: str | None
) -> None:
    async with make_client(server, retry=False) as client:
        server.script(Reply(status=status, body=body))
        with pytest.raises(ApiError) as caught:
            await client.get_vm("v")
    said = caught.value
    assert (said.code, said.status, said.message) == ("internal", status, message or f"HTTP {status}")


async def test_hints_in_a_body_are_read(server: ScriptedServer, client: AsyncArker) -> None:
    said = {"code": "conflict", "message": "m", "request_id": "req-1", "retry_after_seconds": 7, "details": {"a": 1}}
    server.script(ok({"error": said}, status=409))
    with pytest.raises(ConflictError) as caught:
        await client.get_vm("v")
    assert (caught.value.request_id, caught.value.retry_after, caught.value.details) == ("req-1", 7.0, {"a": 1})
    server.script(ok({"error": {**said, "code": "rate_limited", "retry_after_seconds": 61}}, status=429))
    with pytest.raises(RateLimitedError):
        await client.get_vm("v")  # longer than is waited for


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
    result = await vm.run("x", check=True)
    assert (result.state, result.ok) == ("succeeded", True)
    server.script(ok({**completed("x"), "exit_code": None}))
    with pytest.raises(RunFailedError, match="has no exit code"):
        await vm.run("x", check=True)


@pytest.mark.parametrize(
    ("state", "exit_code", "succeeded"),
    [
        ("completed", 0, True),
        ("completed", 1, False),
        ("completed", None, False),
        ("failed", -1, False),
        ("failed", 0, False),
        ("cancelled", 0, False),
        ("running", 0, False),
    ],
)
def test_a_result_says_whether_the_command_has_succeeded(state: str, exit_code: int | None, succeeded: bool) -> None:
    result = CompletedRunResult(run_id="r", stdout=b"", stderr=b"", state=state, exit_code=exit_code)
    assert result.ok == succeeded


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
