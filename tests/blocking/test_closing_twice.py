"""Handles that are closed again, or after their VM was deleted, from blocking callers."""

from __future__ import annotations

from arker_sync import Arker


def test_after_a_block(blocking: Arker) -> None:
    vm = blocking.fork("ubuntu")
    with vm.open_session() as session, vm.tunnel(8080) as tunnel:
        pass
    for _ in range(2):
        assert session.close().deleted
        assert tunnel.close().deleted


def test_after_the_vm_was_deleted(blocking: Arker) -> None:
    vm = blocking.fork("ubuntu")
    session, tunnel, terminal = vm.open_session().open(), vm.tunnel(8080).open(), vm.terminal().open()
    run = vm.start("cat", stdin=True)
    vm.delete()
    for _ in range(2):
        assert session.close().deleted
        assert tunnel.close().deleted
        terminal.close()
        run.close_stdin()
