"""What `reap` asks of a server: rows without an answer, servers that refuse, rows that several programs have."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from arker import AsyncArker, BadReplyError, DeadlineExceededError
from tests.ledger.support import line, select
from tests.support.clients import BURST, COMPUTE, make_client
from tests.support.forked import program
from tests.support.secrets import API_KEY
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, error_1, ok
from tests.support.waiting import put_forward, until

pytestmark = pytest.mark.anyio

FORK = """
import asyncio, os, sys
from arker import AsyncArker

async def main():
    async with AsyncArker(retry=False) as ar:
        print("forking", flush=True)
        vm = await ar.fork("ubuntu", name=sys.argv[1], idempotency_key=sys.argv[2] if len(sys.argv) > 2 else None)
        print(vm.id, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def settings(server: ScriptedServer, ledger: Path) -> dict[str, str]:
    return {
        "ARKER_API_KEY": API_KEY,
        "ARKER_BASE_URL": server.url + COMPUTE,
        "ARKER_BURST_BASE_URL": server.url + BURST,
        "ARKER_LEDGER": str(ledger),
    }


@pytest.fixture
async def client(server: ScriptedServer, ledger: Path) -> AsyncArker:
    return make_client(server, ledger=ledger)


async def left_without_answer(
    server: ScriptedServer, settings: dict[str, str], ledger: Path, *, name: str = "worker"
) -> Recorded:
    """Return the fork of a program that was killed while it waited for the answer."""
    server.script(Reply(delay=60))
    with program(FORK, name, **settings) as process:
        await until(lambda: bool(server.requests))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert select(ledger) == [None]
    return server.requests.pop()


async def left(server: ScriptedServer, settings: dict[str, str], ledger: Path, vm_id: str, *more: str) -> None:
    """Return a VM of a program that was killed."""
    server.script(ok({"vm_id": vm_id}))
    with program(FORK, "worker", *more, **settings) as process:
        assert [line(process), line(process)] == ["forking", vm_id]
        await until(lambda: vm_id in select(ledger))
        process.send_signal(signal.SIGKILL)
    server.requests.clear()


def make_older(ledger: Path, seconds: float) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("UPDATE forks SET created_at = created_at - ?", (seconds,))


async def test_a_fork_without_an_answer_is_sent_again_and_its_vm_deleted(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    sent = await left_without_answer(server, settings, ledger)
    (found,) = (await client.reap(dry_run=True)).deleted
    assert (found.vm_id, found.idempotency_key) == (None, sent.key)
    assert server.requests == []
    server.script(ok({"vm_id": "vm-1"}), ok({"deleted": True}))
    report = await client.reap()
    again, deletion = server.requests
    assert (again.method, again.target, again.key, again.body) == ("POST", sent.target, sent.key, sent.body)
    assert (deletion.method, deletion.target) == ("DELETE", COMPUTE + "/v1/vms/vm-1")
    assert [vm.vm_id for vm in report.deleted] == ["vm-1"]
    assert select(ledger) == []
    assert (await client.reap()).deleted == ()
    await client.aclose()


async def test_what_was_found_out_is_on_record_when_its_deletion_fails(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    await left_without_answer(server, settings, ledger)
    server.script(ok({"vm_id": "vm-1"}), error("forbidden", status=403))
    report = await client.reap()
    (failed,) = report.failed
    assert (failed.vm_id, report.deleted, report.gone) == ("vm-1", (), ())
    assert failed.error is not None
    assert failed.error.status == 403
    assert select(ledger) == ["vm-1"]
    server.script(ok({"deleted": True}))
    assert [vm.vm_id for vm in (await client.reap()).deleted] == ["vm-1"]
    await client.aclose()


@pytest.mark.parametrize(
    "refusal",
    [
        error("not_found", status=404),
        error_1("not_found", status=404, resource="source"),
        error("unauthorized", status=401),
        dropped(Drop.AFTER_PROCESSING),
    ],
)
async def test_a_fork_that_cannot_be_sent_again_stays_as_long_as_that_may_change(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path, refusal: Reply
) -> None:
    await left_without_answer(server, settings, ledger)
    server.answer(refusal)
    assert len((await client.reap()).failed) == 1
    assert select(ledger) == [None]
    # A server that has forgotten the key, and refuses, will never tell.
    make_older(ledger, 25 * 3600)
    (failed,) = (await client.reap()).failed
    assert failed.vm_id is None
    await client.aclose()
    final = failed.error is not None and failed.error.status == 404
    assert select(ledger) == ([] if final else [None])


async def test_a_fork_whose_vm_another_reap_has_deleted_is_gone(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    sent = await left_without_answer(server, settings, ledger)
    server.answer(error_1("not_found", status=404, resource="vm"))
    report = await client.reap()
    assert ([left.idempotency_key for left in report.gone], report.failed) == ([sent.key], ())
    assert select(ledger) == []
    await client.aclose()


async def test_a_key_that_may_be_forgotten_is_warned_of(
    server: ScriptedServer,
    client: AsyncArker,
    settings: dict[str, str],
    ledger: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = await left_without_answer(server, settings, ledger)
    make_older(ledger, 25 * 3600)
    server.script(ok({"vm_id": "vm-new"}), ok({"deleted": True}))
    assert len((await client.reap()).deleted) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert str(sent.key) in warnings[0]
    await client.aclose()


async def test_one_failure_does_not_stop_the_others(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        await left(server, settings, ledger, "vm-0")
        connection.execute(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 40)"
            " INSERT INTO forks SELECT idempotency_key || n, base_url, account, client, body, name, 'vm-' || n, 0,"
            " created_at + n, owner, host, ends_at FROM forks, numbers"
        )

    async def answer(request: Recorded) -> Reply:
        await until(lambda: server.peak >= 8)  # so many at once
        number = int(request.path.rpartition("-")[2])
        return [ok({"deleted": True}), error("not_found", status=404), error("forbidden", status=403)][number % 3]

    server.answer(answer)
    report = await client.reap()
    assert {vm.vm_id for vm in report.deleted} == {f"vm-{number}" for number in range(0, 41, 3)}
    assert {vm.vm_id for vm in report.gone} == {f"vm-{number}" for number in range(1, 41, 3)}
    failed = {f"vm-{number}" for number in range(2, 41, 3)}
    assert {vm.vm_id for vm in report.failed} == failed
    assert set(select(ledger)) == failed
    assert server.peak <= 16
    await client.aclose()


async def test_a_deadline_keeps_what_was_done(
    server: ScriptedServer,
    client: AsyncArker,
    settings: dict[str, str],
    ledger: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await left(server, settings, ledger, "vm-1")
    await left(server, settings, ledger, "vm-2")
    server.requests.clear()
    server.answer(lambda request: ok({"deleted": True}, delay=0 if request.path.endswith("vm-1") else 600))
    reaping = asyncio.create_task(client.reap(deadline=50))
    await until(lambda: len(server.requests) == 2 and select(ledger) == ["vm-2"])
    await put_forward(monkeypatch, 50)
    with pytest.raises(DeadlineExceededError):
        await reaping
    await client.aclose()
    assert select(ledger) == ["vm-2"]


async def test_a_vm_that_a_living_program_has_under_the_same_key(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    await left(server, settings, ledger, "vm-1", "the-same-key")
    server.script(ok({"vm_id": "vm-1"}))
    with program(FORK, "worker", "the-same-key", **settings) as living:
        assert [line(living), line(living)] == ["forking", "vm-1"]
        await until(lambda: select(ledger) == ["vm-1", "vm-1"])
        server.requests.clear()
        report = await client.reap()
        assert (report.deleted, report.living) == ((), 1)
        assert server.requests == []
        assert select(ledger) == ["vm-1"]
        living.communicate("\n", timeout=300)
    assert select(ledger) == []
    await client.aclose()


async def test_a_deletion_that_failed_is_made_up_for(server: ScriptedServer, client: AsyncArker, ledger: Path) -> None:
    server.script(ok({"vm_id": "vm-1"}), ok({"vm_id": "vm-2"}), error("forbidden", status=403), ok({"deleted": True}))
    vm = await client.fork("ubuntu")
    await client.fork("ubuntu")
    with pytest.raises(Exception, match="forbidden"):
        await vm.delete()
    await client.aclose()
    # The other one was left on purpose.
    assert select(ledger) == ["vm-1"]
    async with make_client(server, ledger=ledger) as other:
        assert [vm.vm_id for vm in (await other.reap()).deleted] == ["vm-1"]
    assert select(ledger) == []


@pytest.mark.parametrize("drop", [Drop.AFTER_PROCESSING, Drop.MID_BODY])
async def test_a_fork_whose_outcome_is_unknown_is_found_out_later(
    server: ScriptedServer, ledger: Path, drop: Drop
) -> None:
    server.script(dropped(drop))
    async with make_client(server, ledger=ledger, retry=False) as client:
        with pytest.raises(Exception, match="outcome unknown"):
            await client.fork("ubuntu")
    assert select(ledger) == [None]
    server.script(ok({"vm_id": "vm-1"}), ok({"deleted": True}))
    async with make_client(server, ledger=ledger) as other:
        assert [vm.vm_id for vm in (await other.reap()).deleted] == ["vm-1"]


@pytest.mark.parametrize("status", [400, 404, 409, 503])
async def test_a_fork_that_did_not_take_place_is_not_on_record(
    server: ScriptedServer, ledger: Path, status: int
) -> None:
    server.script(error("no", status=status))
    async with make_client(server, ledger=ledger, retry=False) as client:
        with pytest.raises(Exception, match="no"):
            await client.fork("ubuntu")
        await until(lambda: select(ledger) == [])
    server.script(ok({"vm_id": "vm-1"}))
    async with make_client(server, ledger=ledger) as client:
        await client.fork("ubuntu")
        await until(lambda: select(ledger) == ["vm-1"])
    assert select(ledger) == []


async def test_nothing_is_posted_before_it_is_on_record(server: ScriptedServer, ledger: Path) -> None:
    recorded: list[bool] = []

    def answer(request: Recorded) -> Reply:
        recorded.append(request.key in select(ledger, "idempotency_key"))
        return ok({"vm_id": f"vm-{request.key}"})

    server.answer(answer)
    async with make_client(server, ledger=ledger) as client:
        await asyncio.gather(*(client.fork("ubuntu") for _ in range(100)))
    assert recorded == [True] * 100


async def test_a_client_whose_ledger_does_not_work_forks_all_the_same(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer(lambda request: ok({"vm_id": "vm-1"} if request.method == "POST" else {"deleted": True}))
    async with make_client(server, ledger=tmp_path) as client:
        for _ in range(3):
            async with await client.fork("ubuntu") as vm:
                assert vm.id == "vm-1"


async def test_a_fork_that_was_answered_without_an_id_is_never_posted_again(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    sent = await left_without_answer(server, settings, ledger)
    server.script(Reply(body=b"<html>"))
    (failed,) = (await client.reap()).failed
    assert len(server.requests) == 1
    for _ in range(2):
        (failed,) = (await client.reap()).failed
        assert failed.error is not None
        assert (failed.vm_id, failed.error.outcome, failed.error.idempotency_key) == (None, "unknown", sent.key)
        assert "may exist" in failed.error.message
    assert len(server.requests) == 1
    assert select(ledger) == [None]
    make_older(ledger, 25 * 3600)
    assert len((await client.reap()).failed) == 1
    assert (await client.reap()).failed == ()
    assert len(server.requests) == 1
    assert select(ledger) == []
    await client.aclose()


@pytest.mark.parametrize("body", [{"vm_id": "vm-1", "network": {"mode": 1}, "state": 7}, {"data": {"id": "vm-1"}}])
async def test_nothing_but_the_id_is_read(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path, body: dict[str, object]
) -> None:
    await left_without_answer(server, settings, ledger)
    server.script(ok(body), Reply(status=204))
    assert [vm.vm_id for vm in (await client.reap()).deleted] == ["vm-1"]
    assert select(ledger) == []
    await client.aclose()


@pytest.mark.parametrize(("exact", "ahead"), [("milliseconds", 0), ("seconds", 0), ("milliseconds", 20)])
async def test_a_vm_that_the_posting_itself_has_made_is_told_apart(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path, exact: str, ahead: int
) -> None:
    """A server that does not know the key makes another VM: that one goes, and of the first one it is told."""
    await left_without_answer(server, settings, ledger)

    def made(_: Recorded) -> Reply:
        now = datetime.now(timezone.utc) + timedelta(seconds=ahead)
        return ok({"vm_id": "vm-2", "created_at": now.isoformat(timespec=exact).replace("+00:00", "Z")})

    server.script(made, ok({"deleted": True}))
    report = await client.reap()
    assert (server.last.method, server.last.target) == ("DELETE", COMPUTE + "/v1/vms/vm-2")
    (failed,) = report.failed
    assert (failed.vm_id, report.deleted) == (None, ())
    assert failed.error is not None
    assert "may exist" in failed.error.message
    server.requests.clear()
    assert len((await client.reap()).failed) == 1
    assert server.requests == []
    await client.aclose()


async def test_a_server_whose_clock_is_ahead_knows_its_keys_all_the_same(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    await left_without_answer(server, settings, ledger)
    ahead = datetime.now(timezone.utc) + timedelta(minutes=5)
    server.script(ok({"vm_id": "vm-1", "created_at": ahead.isoformat()}), ok({"deleted": True}))
    report = await client.reap()
    assert ([vm.vm_id for vm in report.deleted], report.failed) == (["vm-1"], ())
    assert select(ledger) == []
    await client.aclose()


@pytest.mark.parametrize(
    "refusal", [Reply(status=400, body=b"null"), error("forbidden", status=403), ok({"deleted": False})]
)
async def test_a_vm_that_the_posting_itself_has_made_is_on_record_until_it_is_gone(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path, refusal: Reply
) -> None:
    await left_without_answer(server, settings, ledger)

    def made(_: Recorded) -> Reply:
        return ok({"vm_id": "vm-2", "created_at": datetime.now(timezone.utc).isoformat()})

    server.script(made, refusal)
    report = await client.reap()
    assert ([vm.vm_id for vm in report.failed], report.deleted) == (["vm-2"], ())
    assert select(ledger) == ["vm-2"]
    server.script(ok({"deleted": True}))
    assert [vm.vm_id for vm in (await client.reap()).deleted] == ["vm-2"]
    await client.aclose()


async def test_what_a_proxy_says_of_a_vm_is_no_proof(
    server: ScriptedServer, client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    await left_without_answer(server, settings, ledger)
    server.script(ok({"vm_id": "vm-1"}), Reply(status=404, body=b"<html>"))
    assert len((await client.reap()).failed) == 1
    assert select(ledger) == ["vm-1"]
    server.script(error("not_found", status=404))
    assert [vm.vm_id for vm in (await client.reap()).gone] == ["vm-1"]
    assert select(ledger) == []
    await client.aclose()


async def test_a_fork_answered_without_an_id_stays_on_record(server: ScriptedServer, ledger: Path) -> None:
    async with make_client(server, ledger=ledger) as client:
        server.script(Reply(body=b"<html>"), Reply(body=b"<html>"))
        with pytest.raises(BadReplyError):
            await client.fork("ubuntu")
        server.script(ok({"vm_id": "vm-9", "network": 3, "vcpu_count": "2"}))
        await client.fork("ubuntu")
        await client._ledger.flush()  # type: ignore[union-attr]  # pyright: ignore
        assert sorted(select(ledger), key=str) == [None, "vm-9"]
    assert select(ledger, "vm_id, given_up") == [(None, 2)]
