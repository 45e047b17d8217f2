"""What is done to many rows at once is what is done to each of them."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from arker._ledger import store
from arker._ledger.statements import Operation
from arker._ledger.store import FILE_NAME, Store
from tests.ledger.support import select

KEYS = ["a", "b", 'with "quotes" and \\', "c" * 64, *(f"{number:032x}" for number in range(30))]
ODD_IDS = ['vm-"2"\\u0000', "vm-\N{SNOWMAN}\u2028", "vm-\0-4", "worker-1"]
IDS = [*ODD_IDS, *(f"vm-{number}" for number in range(30))]
NAMES = [None, None, "worker-1", "vm-5"]
URLS = ["http://host.example/api", "http://other.example/api"]


def identity() -> tuple[str, str, str, str]:
    return ("account", "client", "owner", "host")


def operations_by(chance: random.Random) -> list[Operation]:
    """Return operations in runs of the same kind."""
    operations: list[Operation] = []
    for _ in range(chance.randint(1, 12)):
        name = chance.choice(["intend", "intend", "made", "made", "let_go", "drop", "give_up", "release"])
        url = chance.choice(URLS)
        body = chance.choice(['{"body":1}', '{"body":"\N{SNOWMAN}"}'])
        called = chance.choice(NAMES)
        count, repeat = chance.choice([1, 2, 5, 30]), chance.random() < 0.2
        keys, ids = (chance.choices(of, k=count) if repeat else chance.sample(of, count) for of in (KEYS, IDS))
        for key, vm_id in zip(keys, ids, strict=True):
            if name == "intend":
                operations.append((name, (url, body, called), (key, chance.uniform(1e9, 2e9))))
            elif name == "made":
                operations.append((name, (url, "account"), (vm_id, key)))
            elif name == "let_go":
                operations.append((name, (url, "account"), (vm_id,)))
            elif name == "drop":
                operations.append((name, (), (key, url, "account", "client")))
            elif name == "give_up":
                operations.append((name, (), (1.0, url, "account", vm_id, vm_id)))
            else:
                operations.append((name, (), ("client",)))
    return operations


def all_rows(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute("SELECT * FROM forks").fetchall(), key=repr)


@pytest.mark.parametrize("seed", range(10))
def test_many_at_once_leave_the_rows_that_one_after_another_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    together, apart = tmp_path / "together" / FILE_NAME, tmp_path / "apart" / FILE_NAME
    with closing(Store(together)) as one, closing(Store(apart)) as other:
        for _ in range(20):
            operations = operations_by(chance)
            monkeypatch.setattr(store, "MANY", 1)
            one.apply(operations, identity)
            monkeypatch.setattr(store, "MANY", len(operations) + 1)
            other.apply(operations, identity)
            assert all_rows(together) == all_rows(apart)


def statements_for_a_hundred(path: Path) -> list[str]:
    """Record a hundred VMs, remove all but the last one, and return the statements that did it."""
    executed: list[str] = []
    common = (URLS[0], "account")
    with closing(Store(path)) as opened:
        opened._connection.set_trace_callback(executed.append)  # pyright: ignore[reportPrivateUsage]
        opened.apply([("intend", (URLS[0], "{}", None), (str(number), number)) for number in range(100)], identity)
        opened.apply([("made", common, (f"vm-{number}", str(number))) for number in range(100)], identity)
        assert select(path) == [f"vm-{number}" for number in range(100)]
        opened.apply([("let_go", common, (f"vm-{number}",)) for number in range(99)], identity)
    assert select(path) == ["vm-99"]
    return executed


ONE_FOR_EACH = 299 + 3 * 2 + 1
"""With the transactions, and the question for names."""


def test_many_are_one_statement(tmp_path: Path) -> None:
    reads_json = store._reads_json()  # pyright: ignore[reportPrivateUsage]
    assert len(statements_for_a_hundred(tmp_path / FILE_NAME)) == (3 + 3 * 2 + 1 if reads_json else ONE_FOR_EACH)


def test_a_sqlite_that_reads_no_json_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_reads_json", lambda: False)
    statements = statements_for_a_hundred(tmp_path / FILE_NAME)
    assert not [statement for statement in statements if "json" in statement]
    assert len(statements) == ONE_FOR_EACH
