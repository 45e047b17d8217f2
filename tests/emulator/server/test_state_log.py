"""The write-ahead log of a state directory's records, which waits for the disk once for many changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from arker.emulator.server.state.database import NAME, Database, put

pytestmark = pytest.mark.anyio

SMALL = 4 * 1024 * 1024


async def test_the_log_begins_anew_once_it_is_in_the_database(tmp_path: Path) -> None:
    """While its file is large, each change would be followed by another wait for the disk."""
    database = Database(tmp_path)
    log, sizes = tmp_path / f"{NAME}-wal", list[int]()
    for number in range(200):
        database.apply([put("run", f"{number}", "text" * 25_000, "vm")])
        database.tidy()
        await database.finish()
        sizes.append(log.stat().st_size)
    assert max(sizes) > SMALL
    large = [number for number, size in enumerate(sizes) if size > SMALL]
    assert len(large) < 20, "after each of these, it was small again"
    assert [id for id, _ in database.records("run")] == sorted(str(number) for number in range(200))
    database.close()
