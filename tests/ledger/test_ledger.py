"""What is written down, when, and by how many at once."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from arker._ledger import writer
from arker._ledger.ledger import Ledger
from arker._ledger.statements import STATEMENTS, TOGETHER
from arker._ledger.store import FILE_NAME
from arker._protocol.identifiers import new_idempotency_key
from arker.emulator.server.state.database import put
from tests.ledger.support import BODY, HOST, bytes_of, fork_request, line, output, select, write_down
from tests.support.forked import program
from tests.support.secrets import API_KEY, MARK, OTHER_KEY
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / FILE_NAME


@pytest.fixture
def ledger(path: Path) -> Ledger:
    return Ledger(path, API_KEY)


def test_statements_say_which_key_a_conflict_is_about() -> None:
    """SQLite before 3.35 refuses an ``ON CONFLICT DO UPDATE`` without it, as a syntax error."""
    together = [statement for statement, _ in TOGETHER.values()]
    statements = [*STATEMENTS.values(), *together, put("vm", "id", "{}")[0]]
    conflicts = [part for statement in statements for part in statement.split("ON CONFLICT")[1:]]
    assert len(conflicts) == 4
    assert all(part.startswith(" (") for part in conflicts)


def test_keys_ascend_with_time_and_are_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the rows of forks that are made together lie together."""
    now = time.time_ns()
    moments = [now, now, now + 1, now + 1_000_000_000, 2**62]
    times = iter(moments)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: next(times))
        keys = [new_idempotency_key() for _ in moments]
    assert keys[1:] == sorted(keys[1:])
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)


# --- one program -----------------------------------------------------------------------------------------------------


async def test_an_intent_is_on_record_when_it_is_done_and_has_what_it_takes_to_send_it_again(ledger: Ledger) -> None:
    request = fork_request()
    await ledger.intend(request, "named")
    columns = "idempotency_key, base_url, body, name, vm_id, account"
    assert select(ledger.path, columns) == [
        (request.idempotency_key, HOST, BODY.decode(), "named", None, ledger.account)
    ]
    await ledger.aclose(release=True)


async def test_nothing_is_written_by_a_client_that_forks_nothing(ledger: Ledger) -> None:
    ledger.let_go("vm-1", HOST)
    ledger.give_up("vm-1", HOST)
    await ledger.flush()
    await ledger.aclose(release=True)
    assert not ledger.path.parent.exists()
    assert (await ledger.orphans([HOST], None)).left == []
    await ledger.sweep()
    assert not ledger.path.parent.exists()


async def test_what_becomes_of_a_fork(ledger: Ledger) -> None:
    deleted, kept, refused, lost = (fork_request() for _ in range(4))
    for request in (deleted, kept, refused, lost):
        await ledger.intend(request, None)
    ledger.made(deleted, "vm-deleted")
    ledger.made(kept, "vm-kept")
    ledger.forget(refused)
    await ledger.flush()
    assert select(ledger.path, "vm_id, idempotency_key") == [
        ("vm-deleted", deleted.idempotency_key),
        ("vm-kept", kept.idempotency_key),
        (None, lost.idempotency_key),
    ]
    ledger.let_go("vm-deleted", HOST)
    ledger.let_go("vm-kept", "http://elsewhere.example/api")
    await ledger.flush()
    assert select(ledger.path) == ["vm-kept", None]
    await ledger.aclose(release=True)


async def test_what_nobody_waits_for_is_written_soon(ledger: Ledger) -> None:
    request = fork_request()
    await ledger.intend(request, None)
    ledger.made(request, "vm-1")
    await until(lambda: select(ledger.path) == ["vm-1"])
    await ledger.aclose(release=True)


async def test_ids_that_come_one_after_another_are_written_together(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PAUSE_SECONDS", 600.0)
    requests = [fork_request() for _ in range(3)]
    for request in requests:
        await ledger.intend(request, None)
    ledger.made(requests[0], "vm-1")
    await until(lambda: "vm-1" in select(ledger.path))  # one alone does not wait
    ledger.made(requests[1], "vm-2")
    await asyncio.sleep(0.3)
    ledger.made(requests[2], "vm-3")
    assert select(ledger.path) == ["vm-1", None, None]
    await ledger.intend(fork_request(), None)  # takes along what is there
    assert select(ledger.path) == ["vm-1", "vm-2", "vm-3", None]
    await ledger.aclose(release=True)


async def test_a_vm_is_let_go_by_its_name_and_by_another_program(ledger: Ledger, path: Path) -> None:
    request = fork_request()
    await ledger.intend(request, "worker-1")
    ledger.made(request, "vm-1")
    await write_down(ledger, "vm-2", "vm-3")
    other = Ledger(path, API_KEY)
    other.let_go("worker-1", HOST)
    other.let_go("vm-2", HOST)
    await other.aclose(release=True)
    assert select(path) == ["vm-3"]
    await ledger.aclose(release=True)


async def test_an_orderly_end_leaves_on_record_only_what_was_not_meant_to_stay(ledger: Ledger) -> None:
    await write_down(ledger, "vm-meant-to-stay", "vm-could-not-be-deleted")
    unanswered = fork_request()
    await ledger.intend(unanswered, None)
    ledger.give_up("vm-could-not-be-deleted", HOST)
    await ledger.aclose(release=True)
    assert select(ledger.path) == ["vm-could-not-be-deleted", None]


async def test_an_end_by_an_exception_leaves_everything_on_record(ledger: Ledger) -> None:
    await write_down(ledger, "vm-1")
    await ledger.aclose(release=False)
    assert select(ledger.path) == ["vm-1"]
    assert (await ledger.orphans([HOST], None)).living == 1


async def test_one_client_s_end_is_not_another_s(ledger: Ledger, path: Path) -> None:
    other = Ledger(path, API_KEY)
    await write_down(ledger, "vm-1")
    await write_down(other, "vm-2")
    await ledger.aclose(release=True)
    assert select(path) == ["vm-2"]
    found = await other.orphans([HOST], None)
    assert (found.left, found.living) == ([], 1)
    await other.aclose(release=True)
    assert select(path) == []


async def test_a_fork_that_is_sent_again_keeps_the_answer_that_is_known(ledger: Ledger) -> None:
    (request,) = await write_down(ledger, "vm-1")
    await ledger.intend(request, None)
    ledger.forget(request)
    await ledger.flush()
    assert select(ledger.path) == ["vm-1"]
    ledger.undone(request)
    await ledger.aclose(release=True)
    assert select(ledger.path) == []


async def test_a_ledger_goes_on_after_its_thread_has_ended(ledger: Ledger) -> None:
    await write_down(ledger, "vm-1")
    await ledger.aclose(release=False)
    await write_down(ledger, "vm-2")
    assert select(ledger.path) == ["vm-1", "vm-2"]
    await ledger.aclose(release=True)
    assert select(ledger.path) == []


async def test_a_file_of_an_earlier_version_gets_the_column_of_ends_and_loses_an_index(
    ledger: Ledger, path: Path
) -> None:
    (request,) = await write_down(ledger, "vm-1")
    await ledger.aclose(release=False)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE forks DROP COLUMN ends_at")
        connection.execute("CREATE INDEX forks_by_client ON forks (client)")
    ledger.set_end("vm-1", HOST, 7.0)
    await ledger.flush()
    assert select(path, "idempotency_key, vm_id, ends_at") == [(request.idempotency_key, "vm-1", 7.0)]
    with closing(sqlite3.connect(path)) as connection:
        indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    assert sorted(indexes) == [("forks_by_name",), ("forks_by_vm_id",)]
    await ledger.aclose(release=True)
    assert select(path) == ["vm-1"]


@pytest.mark.parametrize("failed", [Ledger.give_up, Ledger.left])
async def test_a_vm_that_could_not_be_deleted_does_not_wait_for_its_end(
    ledger: Ledger, failed: Callable[[Ledger, str, str], None]
) -> None:
    await write_down(ledger, "vm-1")
    ledger.set_end("vm-1", HOST, time.time() + 600)
    assert (await ledger.orphans([HOST], None)).left == []
    failed(ledger, "vm-1", HOST)
    assert [row.vm_id for row in (await ledger.orphans([HOST], None)).left] == ["vm-1"]
    await ledger.aclose(release=False)


async def test_only_its_user_can_read_it(ledger: Ledger) -> None:
    await write_down(ledger, "vm-1")
    place = ledger.path.parent
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "owners").stat().st_mode) == 0o700
    files = [found for found in place.rglob("*") if found.is_file()]
    assert {stat.S_IMODE(found.stat().st_mode) for found in files} == {0o600}
    assert len(files) >= 3
    await ledger.aclose(release=True)
    assert list((place / "owners").iterdir()) == []


async def test_no_key_is_in_it(tmp_path: Path) -> None:
    for key in (API_KEY, OTHER_KEY):
        ledger = Ledger(tmp_path / FILE_NAME, key)
        await write_down(ledger, "vm-1")
        assert MARK not in f"{ledger!r}{vars(ledger)!r}"
        await ledger.aclose(release=False)
    assert len(set(select(tmp_path / FILE_NAME, "account"))) == 2
    written = bytes_of(tmp_path)
    assert MARK.encode() not in written
    assert BODY in written


# --- several at once -------------------------------------------------------------------------------------------------


async def test_five_hundred_at_once_take_a_few_commits(ledger: Ledger) -> None:
    commits: list[str] = []
    await write_down(ledger, "vm-first")
    assert ledger._writer._store is not None  # pyright: ignore[reportPrivateUsage]
    ledger._writer._store._connection.set_trace_callback(  # pyright: ignore[reportPrivateUsage]
        lambda statement: commits.append(statement) if statement == "COMMIT" else None
    )
    await asyncio.gather(*(ledger.intend(fork_request(), None) for _ in range(500)))
    assert len(select(ledger.path)) == 501
    assert 1 <= len(commits) <= 100
    await ledger.aclose(release=True)


async def test_a_caller_that_is_cancelled_leaves_the_others_their_answer(ledger: Ledger) -> None:
    async def one() -> None:
        await ledger.intend(fork_request(), None)

    tasks = [asyncio.create_task(one()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [False, True, False]
    await ledger.flush()
    assert len(select(ledger.path)) == 3
    await ledger.aclose(release=True)


def test_several_loops_in_several_threads(ledger: Ledger) -> None:
    async def use(number: int) -> None:
        for round_ in range(20):
            await asyncio.gather(*(write_down(ledger, f"vm-{number}-{round_}-{index}") for index in range(5)))

    threads = [threading.Thread(target=asyncio.run, args=(use(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(select(ledger.path))) == 4 * 20 * 5
    asyncio.run(ledger.aclose(release=True))
    assert select(ledger.path) == []


WRITER = """
import asyncio, sys
from pathlib import Path
from arker._ledger.ledger import Ledger
from tests.ledger.support import fork_request

async def main():
    ledger = Ledger(Path(sys.argv[1]), "a key")

    async def one(number):
        request = fork_request(f"{sys.argv[2]}-{number}")
        await ledger.intend(request, None)
        ledger.made(request, f"vm-{sys.argv[2]}-{number}")
        print(request.idempotency_key, flush=True)

    for start in range(0, int(sys.argv[3]), 20):
        await asyncio.gather(*(one(number) for number in range(start, start + 20)))
    await ledger.aclose(release=False)

asyncio.run(main())
"""


def test_several_processes_write_to_a_file_that_none_has_made_yet(path: Path) -> None:
    names = ["a", "b", "c", "d"]
    running = [program(WRITER, str(path), name, "100") for name in names]
    processes = [each.__enter__() for each in running]
    try:
        for process in processes:
            assert len(output(process).split()) == 100
    finally:
        for each in running:
            each.__exit__(None, None, None)
    assert sorted(select(path)) == sorted(f"vm-{name}-{number}" for name in names for number in range(100))
    assert len(set(select(path, "owner"))) == 4
    assert list((path.parent / "owners").iterdir()) == []


@pytest.mark.parametrize("lines", [1, 30, 300])
def test_what_was_done_outlives_a_program_that_is_killed_amid_its_work(path: Path, lines: int) -> None:
    with program(WRITER, str(path), "a", "1000000") as process:
        known = {line(process) for _ in range(lines)}
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
    # The first line may have been cut by what was read before it, the last one by the end of the program.
    known.update(said.split("\n")[1:-1])
    assert known <= set(select(path, "idempotency_key"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


FORKER = """
import warnings
warnings.simplefilter("ignore")  # newer versions of Python warn of any fork beside a thread
import asyncio, os, sys
from pathlib import Path
from arker._ledger.ledger import Ledger
from tests.ledger.support import HOST, write_down

ledger = Ledger(Path(sys.argv[1]), "a key")
asyncio.run(write_down(ledger, "vm-parent"))
child = os.fork()
if child == 0:
    found = asyncio.run(ledger.orphans([HOST], None))
    assert (found.left, found.living) == ([], 1), found
    asyncio.run(write_down(ledger, "vm-child"))
    asyncio.run(ledger.aclose(release=False))
    print("child", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
found = asyncio.run(ledger.orphans([HOST], None))
assert [row.vm_id for row in found.left] == ["vm-child"], found
assert found.living == 1
child = os.fork()
if child == 0:
    asyncio.run(ledger.aclose(release=True))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(write_down(ledger, "vm-later"))
print("parent", flush=True)
sys.stdin.readline()
"""


def test_a_process_made_by_fork_is_an_owner_of_its_own(path: Path) -> None:
    with program(FORKER, str(path)) as process:
        assert [line(process), line(process)] == ["child", "parent"]
        rows = dict(select(path, "vm_id, owner"))
        assert set(rows) == {"vm-parent", "vm-child", "vm-later"}
        assert rows["vm-parent"] == rows["vm-later"] != rows["vm-child"]
        process.communicate("\n", timeout=300)
        assert process.returncode == 0


BUSY_FORKER = """
import asyncio, os, sys, threading
from pathlib import Path
from arker._ledger.ledger import Ledger
from tests.ledger.support import fork_request, write_down

ledger = Ledger(Path(sys.argv[1]), "a key")
over = threading.Event()

async def keep_busy():
    while not over.is_set():
        await asyncio.gather(*(ledger.intend(fork_request(), None) for _ in range(50)))

thread = threading.Thread(target=asyncio.run, args=(keep_busy(),))
thread.start()
for number in range(20):
    child = os.fork()
    if child == 0:
        asyncio.run(write_down(ledger, f"vm-{number}"))
        asyncio.run(ledger.aclose(release=False))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
over.set()
thread.join()
"""


def test_forks_amid_the_thread_s_work(path: Path) -> None:
    # Newer versions of Python warn of any fork beside a thread.
    with program("import warnings\nwarnings.simplefilter('ignore')\n" + BUSY_FORKER, str(path)) as process:
        assert output(process) == ""
    assert set(select(path)) - {None} == {f"vm-{number}" for number in range(20)}


KEEPER = """
import asyncio, sys
from pathlib import Path
from arker._ledger.ledger import Ledger
from tests.ledger.support import HOST, write_down
from tests.support.waiting import until

ledger = Ledger(Path(sys.argv[1]), "a key")
asyncio.run(write_down(ledger, "vm-kept", "vm-left"))
ledger.let_go("vm-kept", HOST)
"""


def test_a_vm_that_is_kept_just_before_the_program_ends_is_kept(path: Path) -> None:
    with program(KEEPER, str(path)) as process:
        assert output(process) == ""
    assert select(path) == ["vm-left"]
    assert list((path.parent / "owners").iterdir()) == []
    assert os.listdir(path.parent)
