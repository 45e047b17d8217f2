"""Ledgers that cannot be written: no fork notices."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from arker._ledger import store, writer
from arker._ledger.ledger import Ledger
from arker._ledger.store import FILE_NAME
from tests.ledger.support import HOST, fork_request, listing, select, write_down
from tests.support import forked
from tests.support.secrets import API_KEY
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def all_warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Those of trouble, not those that tell of its end."""
    return [warning for warning in all_warnings_in(caplog) if "is used again" not in warning]


async def use(path: Path) -> Ledger:
    """All that a client does with a ledger."""
    ledger = Ledger(path, API_KEY)
    first, second = await write_down(ledger, "vm-1", "vm-2")
    ledger.forget(first)
    ledger.undone(second)
    ledger.give_up("vm-2", HOST)
    ledger.let_go("vm-2", HOST)
    await ledger.aclose(release=True)
    return ledger


@pytest.mark.parametrize("below", [FILE_NAME, f"state/{FILE_NAME}"])
async def test_a_file_stands_in_the_directory_s_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, below: str
) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"something")
    await use(place / below)
    (warning,) = warnings_in(caplog)
    assert "cannot be used" in warning
    assert str(place) in warning
    assert place.read_bytes() == b"something"


async def test_a_directory_stands_in_the_file_s_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await use(tmp_path)
    assert len(warnings_in(caplog)) == 1
    assert {path.name for path in listing(tmp_path)} <= {"owners"}


async def test_nothing_can_be_made_below_proc(caplog: pytest.LogCaptureFixture) -> None:
    await use(Path("/proc/arker") / FILE_NAME)
    assert len(warnings_in(caplog)) == 1


async def test_the_disk_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(tmp_path / FILE_NAME, API_KEY)
    await write_down(ledger, "vm-1")
    # A bound on the size of files is as good as a full disk.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(path.stat().st_size for path in listing(tmp_path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        for _ in range(100):
            await ledger.intend(fork_request(), None)
            if warnings_in(caplog):
                break
        await ledger.intend(fork_request("in-between"), None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(warnings_in(caplog)) == 1
    # What could not be written then is written now.
    await ledger.aclose(release=False)
    assert "in-between" in select(ledger.path, "idempotency_key")
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    ledger = Ledger(path, API_KEY)
    await write_down(ledger, "vm-1")
    assert select(path) == ["vm-1"]
    await ledger.aclose(release=True)
    (aside,) = listing(tmp_path, f"{FILE_NAME}.damaged-*")
    assert aside.read_bytes() == content
    (warning,) = warnings_in(caplog)
    assert aside.name in warning


async def test_damage_during_the_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / FILE_NAME
    ledger = Ledger(path, API_KEY)
    await write_down(ledger, *(f"vm-{number}" for number in range(200)))
    await ledger.aclose(release=False)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    await write_down(ledger, "vm-later")
    assert select(path) == ["vm-later"]
    assert len(listing(tmp_path, f"{FILE_NAME}.damaged-*")) == 1
    assert len(warnings_in(caplog)) == 1
    await ledger.aclose(release=True)


OWNER = """
import sys
from pathlib import Path
from arker._ledger import process_locks
print(process_locks.lives(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.parametrize("removed", ["everything", "owners", "locks"])
async def test_a_program_whose_files_are_removed_goes_on_as_their_owner(tmp_path: Path, removed: str) -> None:
    directory = tmp_path / "state"
    ledger = Ledger(directory / FILE_NAME, API_KEY)
    await write_down(ledger, "vm-1")
    if removed == "locks":
        for file in listing(directory / "owners"):
            file.unlink()
    else:
        shutil.rmtree(directory if removed == "everything" else directory / "owners")
    await write_down(ledger, "vm-2")
    assert select(ledger.path) == (["vm-2"] if removed == "everything" else ["vm-1", "vm-2"])
    (owner,) = set(select(ledger.path, "owner"))
    # A `reap` elsewhere would delete VMs that are in use.
    assert forked.run("code", OWNER, str(directory), owner, env=os.environ, timeout=300).stdout == "True\n"
    await ledger.aclose(release=True)
    assert listing(directory / "owners") == []


async def test_a_file_that_another_program_has_set_aside_is_not_written_any_more(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / FILE_NAME, API_KEY)
    await write_down(ledger, "vm-1")
    for path in listing(tmp_path, f"{FILE_NAME}*"):
        path.rename(path.with_name(f"aside-{path.name}"))
    await write_down(ledger, "vm-2")
    assert select(ledger.path) == ["vm-2"]
    await ledger.aclose(release=True)


async def test_a_file_that_was_named_by_mistake_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notes, database = tmp_path / "notes.txt", tmp_path / FILE_NAME
    notes.write_text("things to do\n" * 100)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE other (value TEXT)")
        connection.commit()
    before = notes.read_bytes(), database.read_bytes()
    for path in (notes, database):
        caplog.clear()
        await use(path)
        assert len(warnings_in(caplog)) == 1
    assert (notes.read_bytes(), database.read_bytes()) == before
    assert {path.name for path in listing(tmp_path)} - {"owners"} == {"notes.txt", FILE_NAME}


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / FILE_NAME
    await use(path)
    assert warnings_in(caplog) == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    ledger = await use(path)
    (warning,) = warnings_in(caplog)
    assert "version 99" in warning
    with pytest.raises(store.UnusableError):
        await ledger.orphans([HOST], None)
    assert path.read_bytes() == before


async def test_another_process_has_it_locked_for_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 1.0)
    path = tmp_path / FILE_NAME
    ledger = Ledger(path, API_KEY)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        requests = await write_down(ledger, *(f"vm-{number}" for number in range(20)))
        # Only the first one waited.
        assert time.monotonic() - started < 20 * 1.0
        other.execute("ROLLBACK")
    assert len(warnings_in(caplog)) == 1
    await ledger.aclose(release=False)
    assert select(path, "idempotency_key, vm_id") == [
        (request.idempotency_key, f"vm-{number}") for number, request in enumerate(requests)
    ]


async def test_no_thread_can_be_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    ledger = Ledger(tmp_path / FILE_NAME, API_KEY)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        await write_down(ledger, "vm-1", "vm-2")
    (warning,) = warnings_in(caplog)
    assert "cannot be used: can't start new thread; VMs that this program may leave behind" in warning
    await write_down(ledger, "vm-3")
    await until(lambda: select(ledger.path) == ["vm-1", "vm-2", "vm-3"])
    await ledger.aclose(release=False)
    assert all_warnings_in(caplog)[1:] == [
        f"the ledger of forks {ledger.path} is used again: VMs of this program are on record"
    ]


async def test_no_warning_of_threads_at_the_end_of_the_interpreter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    ledger = Ledger(tmp_path / FILE_NAME, API_KEY)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        await write_down(ledger, "vm-1")
    assert warnings_in(caplog) == []
    await ledger.aclose(release=False)


async def test_it_recovers_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    place = tmp_path / "state"
    place.write_bytes(b"")
    ledger = Ledger(place / FILE_NAME, API_KEY)
    await write_down(ledger, "vm-1")
    assert len(warnings_in(caplog)) == 1
    place.unlink()
    await until(lambda: select(ledger.path) == ["vm-1"])
    await write_down(ledger, "vm-2")  # which does not wait if it does not know yet that the file can be used
    await until(lambda: select(ledger.path) == ["vm-1", "vm-2"])
    await ledger.aclose(release=True)
    assert select(ledger.path) == []
    trouble, end = all_warnings_in(caplog)
    assert trouble.endswith("are not on record until it can, which is tried every 0.01 s, and told")
    assert end == f"the ledger of forks {ledger.path} is used again: VMs of this program are on record"


async def test_trouble_that_comes_again_is_told_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.05)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    ledger = Ledger(tmp_path / FILE_NAME, API_KEY)
    await write_down(ledger, "vm-1")
    for count in (1, 2):
        with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await write_down(ledger, f"vm-{count + 1}")
            await until(lambda count=count: len(warnings_in(caplog)) == count)  # type: ignore[misc]
            other.execute("ROLLBACK")
        await until(lambda count=count: len(all_warnings_in(caplog)) == 2 * count)  # type: ignore[misc]
    await ledger.aclose(release=True)


async def test_a_disk_that_does_not_answer_holds_up_one_fork_and_no_longer_than_bearable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 1.0)
    path = tmp_path / FILE_NAME
    ledger = Ledger(path, API_KEY)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        await write_down(ledger, *(f"vm-{number}" for number in range(20)))
        assert time.monotonic() - started < 20 * 1.0
        assert len(warnings_in(caplog)) == 1
        other.execute("ROLLBACK")
    await ledger.aclose(release=True)


async def test_a_close_waits_for_no_further_attempt_when_forks_wait_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 1.0)
    monkeypatch.setattr(writer, "PATIENCE", 600.0)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 600.0)
    ledger = Ledger(tmp_path / FILE_NAME, API_KEY)
    first, second = fork_request(), fork_request()
    await write_down(ledger, "vm-1")
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        waiting = [ledger.intend(first, None)]
        await until(lambda: not ledger._writer._waiting)  # pyright: ignore[reportPrivateUsage]
        waiting.append(ledger.intend(second, None))  # while the thread tries to write the first one
        await until(lambda: len(warnings_in(caplog)) == 1)
        other.execute("ROLLBACK")
    await asyncio.wait_for(ledger.aclose(release=False), 60)
    await asyncio.wait_for(asyncio.gather(*waiting), 60)
    keys = select(ledger.path, "idempotency_key")
    assert {first.idempotency_key, second.idempotency_key} < set(keys)
