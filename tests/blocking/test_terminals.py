"""The blocking terminal, and the file that it gives."""

from __future__ import annotations

import io
import os

import pytest

from arker import ConfigurationError, TerminalClosedError
from arker_sync import Arker


def test_a_terminal(blocking: Arker) -> None:
    vm = blocking.fork("ubuntu")
    with vm.terminal(cols=70, rows=20) as terminal:
        terminal.write("stty size; exit 4\n")
        output = b"".join(piece for piece in terminal if isinstance(piece, bytes))
        assert b"20 70\r\n" in output
        assert (terminal.wait(deadline=30), terminal.exit_code, terminal.ended) == (4, 4, True)
        assert repr(terminal).startswith("<Terminal of VM ")
        with pytest.raises(TerminalClosedError):
            terminal.write("x")
    assert len(vm.list_sessions().sessions) == 1


def test_a_file_of_it(blocking: Arker) -> None:
    vm = blocking.fork("ubuntu")
    with vm.terminal("/bin/cat") as terminal:
        file = terminal.file()
        assert (file.readable(), file.writable(), file.seekable(), file.closed) == (True, True, False, False)
        assert file.write(b"one\n") == 4
        lines = io.BufferedReader(file)
        assert (lines.readline(), lines.readline()) == (b"one\r\n", b"one\r\n")
        assert file.write(memoryview(b"\x04")) == 1
        assert lines.read().replace(b"^D\x08\x08", b"") == b""
        lines.close()
        assert file.closed
        for use in (lambda: file.read(1), lambda: file.write(b"x")):
            with pytest.raises(ValueError, match="closed file"):
                use()
        file.close()
    assert len(vm.list_sessions().sessions) == 1


def test_a_file_that_is_dropped_leaves_the_terminal_open(blocking: Arker) -> None:
    vm = blocking.fork("ubuntu")
    with vm.terminal("/bin/cat") as terminal:
        terminal.file()
        terminal.write(b"x\n")
        assert terminal.read(1) == b"x"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_leaves_it_to_its_parent(blocking: Arker) -> None:
    vm = blocking.fork("ubuntu")
    with vm.terminal("/bin/cat") as terminal:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with pytest.raises(ConfigurationError, match="forked from"):
                    terminal.write("from the child\n")
                with pytest.raises(ConfigurationError, match="forked from"):
                    terminal.read()
                terminal.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        terminal.write("x\n")
        assert terminal.read(1) == b"x"
