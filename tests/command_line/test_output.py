"""What commands print, for people and for programs."""

from __future__ import annotations

import os
import re
import subprocess
import time
from fcntl import ioctl
from pty import openpty
from struct import pack
from termios import TIOCSWINSZ
from typing import Any

import pytest

from tests.command_line.support import Program


def _ended(program: Program, run: str) -> dict[str, Any]:
    """Wait for a run's end. Returns what ``logs --json`` prints then."""
    until = time.monotonic() + 120
    while (found := program("logs", run, "--json").json)["state"] != "completed":
        assert time.monotonic() < until, found
    return dict(found)


def test_output_that_is_no_text_is_base64_in_json(arker_program: Program, web: str) -> None:
    run = arker_program.good("run", "web", "--detach", "--", "printf '\\377\\0a'; printf text >&2").strip()
    found = _ended(arker_program, run)
    assert (found["stdout"], found["stdout_encoding"]) == ("/wBh", "base64")
    assert (found["stderr"], found["stderr_encoding"]) == ("text", "utf-8")


def test_what_is_sent_as_base64_though_it_is_text(arker_program: Program, web: str) -> None:
    run = arker_program.good("run", "web", "--detach", "--", "printf 'a\\0b'").strip()
    found = _ended(arker_program, run)
    assert (found["stdout"], found["stdout_encoding"]) == ("a\0b", "utf-8")


@pytest.mark.parametrize("columns", [20, 72, 80, 120])
def test_an_id_is_whole_on_a_terminal_of_any_width(arker_program: Program, web: str, columns: int) -> None:
    screen, terminal = openpty()
    try:
        ioctl(terminal, TIOCSWINSZ, pack("HHHH", 24, columns, 0, 0))
        with arker_program.forked("ls", stdin=subprocess.DEVNULL, stdout=terminal, env={"TERM": "xterm"}) as process:
            assert process.wait(120) == 0
        text = re.sub("\x1b\\[[0-9;]*m", "", os.read(screen, 65536).decode())
    finally:
        os.close(screen)
        os.close(terminal)
    row = next(line for line in text.splitlines() if line.startswith(web))
    assert row.split()[:3] == [web, "web", "idle"]
    assert columns == 20 or all(len(line) <= columns for line in text.splitlines())
