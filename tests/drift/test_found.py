"""Plans that have found something, played again: each is the smallest of its kind."""

from __future__ import annotations

import pytest

from tests.drift.changes import Beside, Field, Instead, Lost, Moved, Without
from tests.drift.plans import Bent, Interrupted, Plan
from tests.drift.play import hurried, play
from tests.support.server import ServerThread

_PAGE = Instead(404, b"<html>")
_KEPT = Instead(200, b'{"deleted": false}')
_OTHER = Beside({"run": {"run_id": "01R", "id": "01R"}})


def _unreached(operation: str, *changes: Instead | Lost) -> tuple[Bent, ...]:
    return tuple(Bent(operation, (change,), reaches=False) for change in changes)


FOUND = [
    # A run's output that was somewhere else was taken for empty.
    Plan("run", (Bent("run", (Without("stderr"),), times=12),)),
    Plan("run", (Bent("run", (Without("stdout"), Without("run_id"))),)),
    Plan("run", (Bent("get_run", (Moved("stderr", "output.stderr"),)),), slow=True),
    Plan("get a run", (Bent("get_run", (Without("stdout"),)),)),
    # Base64 was taken for a text.
    Plan("sync", (Bent("read", (Field("encoding", ["x"]), Without("size"))),)),
    Plan("open_read", (Bent("read", (Moved("content", "data.content"),)),)),
    # The id of a run was taken for that of the VM.
    Plan("fork", (Bent("fork", (Without("vm_id"), _OTHER), times=2),)),
    # The id of another session was taken for that of the one that was asked for.
    Plan(
        "create a session",
        (
            Bent("create_session", (Lost("AFTER_PROCESSING"),), skip=1),
            Bent("create_session", (Lost("AFTER_PROCESSING"),), skip=1),
            Bent("get_session", (Without("session_id"), Beside({"session": {"session_id": "01S", "id": "01S"}}))),
        ),
    ),
    # A run that was started was called undone, since a question about it had failed.
    Plan("run", (Bent("get_run", (Instead(425, b"<html>"),)),), slow=True),
    Plan("run", _unreached("list_runs", Lost("RESET"), Lost("RESET"), Lost("RESET")), slow=True),
    # Two pages of proxies were taken for a VM that had been deleted, and a "no" for a fork that had been undone.
    Plan("VM in a block", _unreached("delete", Instead(502, b""), _PAGE)),
    Plan("fork", _unreached("delete", _KEPT), interrupted=Interrupted(1, "cancel")),
    Plan("fork", _unreached("delete", _PAGE), interrupted=Interrupted(1, "cancel")),
    # A session stayed without a word, a file that was written was called undone.
    Plan("session in a block", _unreached("delete_session", _KEPT)),
    Plan("session in a block", _unreached("delete_session", _PAGE)),
    Plan("upload_many", (Bent("write", (Field("written", {"a": 1}),)),)),
]


@pytest.mark.parametrize("plan", FOUND, ids=lambda plan: plan.operation)
def test_it_does_not_happen_again(server_thread: ServerThread, plan: Plan) -> None:
    with hurried():
        wrong, _, _ = play(plan, server_thread, patience=2.0)
    assert wrong == []
