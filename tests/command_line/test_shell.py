"""``arker shell``, typed into at a terminal of this machine."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Generator
from contextlib import contextmanager
from fcntl import ioctl
from pty import openpty

import pytest

from arker._cli.shell import Keys
from tests.command_line.support import Program

PROMPT = "ready> "


class Typist:
    """What is typed into a program at a terminal, and what the terminal shows."""

    def __init__(self, screen: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._screen = screen
        self._seen = b""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, pattern: str) -> str:
        """Wait until something is shown. Returns what was shown up to there."""
        wanted = re.compile(pattern.encode(), re.DOTALL)
        until = time.monotonic() + 120
        while (found := wanted.search(self._seen)) is None:
            assert select.select([self._screen], [], [], max(0.0, until - time.monotonic()))[0], self._seen
            try:
                self._seen += os.read(self._screen, 65536)
            except OSError:  # the program has ended
                raise AssertionError(f"{pattern!r} was not shown, but {self._seen!r}") from None
        shown, self._seen = self._seen[: found.end()], self._seen[found.end() :]
        return shown.decode()

    def prompt(self) -> None:
        """Wait for the shell, and give it a prompt that is easy to find."""
        self.until(r"\$ $")
        self.type(f"PS1='{PROMPT[:3]}''{PROMPT[3:]}'; bind 'set enable-bracketed-paste off'\r")
        self.until(f"[\r\n]{PROMPT}")  # a command that turns its own echo off ends in the first column


@contextmanager
def typist(program: Program, *words: str, columns: int = 100, lines: int = 30) -> Generator[Typist, None, None]:
    screen, terminal = openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    before = termios.tcgetattr(terminal)
    keeper = os.dup(terminal)
    try:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        with program.forked(*words, **streams, env={"TERM": "xterm-256color"}, terminal=True) as process:
            os.close(terminal)
            yield Typist(screen, process)
            process.wait(120)
        assert termios.tcgetattr(keeper) == before
    finally:
        os.close(keeper)
        os.close(screen)


def sessions(program: Program) -> int:
    return len(program("ls", "--json").json[0]["sessions"])


@pytest.mark.needs("terminals")
def test_a_shell_at_a_terminal(arker_program: Program, web: str) -> None:
    with typist(arker_program, "shell", "web") as person:
        person.prompt()
        person.type("tty; stty size; echo \u00e4\u20ac$((6 * 7))\r")
        person.until(r"/dev/pts/\d+\r\n30 100\r\n" + "\u00e4\u20ac42\r\n" + PROMPT)
        person.resize(90, 20)
        person.type("while [ \"$(stty size)\" != '20 90' ]; do sleep 0.05; done; echo resized\r")
        person.until(f"\nresized\r\n{PROMPT}")
        person.type("sh -c 'echo go''ing; exec sleep 600'\r")  # a key that comes before it runs would be the shell's
        person.until("\ngoing\r\n")
        person.type("\x03")
        person.until(PROMPT)
        person.type("echo $?\r")
        person.until(f"\n130\r\n{PROMPT}")
        person.type("sh -c 'echo go''ing; exec sleep 600'\r")
        person.until("\ngoing\r\n")
        person.type("\x1a")
        person.until(rf"Stopped.*\r\n{PROMPT}")
        person.type("kill %1; exit 3\r")
        person.type("exit 3\r")
        assert person.process.wait(120) == 3
    assert sessions(arker_program) == 1


@pytest.mark.needs("terminals")
def test_leaving_a_shell_and_coming_back(arker_program: Program, web: str) -> None:
    with typist(arker_program, "shell", "web") as person:
        person.prompt()
        person.type("MARK=there\r")
        person.until(PROMPT)
        person.type("~.")
        session = re.search(r"--session (\S+)", person.until(r"--session \S+ takes it up again"))
        assert person.process.wait(120) == 0
    assert session is not None
    assert sessions(arker_program) == 2
    with typist(arker_program, "shell", "web", "--session", session[1]) as person:
        person.type("echo $MARK ~~\r")
        person.until(r"\nthere ~~?\r\n")
        person.type("exit\r")
        assert person.process.wait(120) == 0


@pytest.mark.needs("terminals")
def test_a_shell_without_a_terminal(arker_program: Program, web: str) -> None:
    with arker_program.forked("shell", "web") as process:
        out, complaints = process.communicate(b"echo $((6 * 7)); exit 5\n", timeout=120)
        assert (process.returncode, complaints) == (5, b"")
        assert re.search(rb"[\r\n]42\r\n", out), out
    with arker_program.forked("shell", "--fork", "ubuntu", "/usr/bin/env") as process:
        out, complaints = process.communicate(timeout=120)
        assert (process.returncode, complaints) == (0, b"")
        assert b"TERM=xterm-256color" in out
    assert sessions(arker_program) == 1
    assert len(arker_program("ls", "--json").json) == 1


@pytest.mark.needs("terminals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_shell_leaves_nothing(arker_program: Program, web: str, number: signal.Signals) -> None:
    with typist(arker_program, "shell", "web") as person:
        person.prompt()
        person.process.send_signal(number)
        assert person.process.wait(120) == 128 + number
    assert sessions(arker_program) == 1


@pytest.mark.needs("terminals")
def test_a_terminal_that_has_no_size_and_is_closed(arker_program: Program, web: str) -> None:
    screen, terminal = openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    with arker_program.forked("shell", "web", **streams, terminal=True) as process:
        os.close(terminal)
        person = Typist(screen, process)
        person.prompt()
        person.type("stty size\r")
        person.until(f"\n24 80\r\n{PROMPT}")
        os.close(screen)
        assert process.wait(120) == 129
    assert sessions(arker_program) == 1


def test_shells_that_cannot_be_opened(arker_program: Program, web: str) -> None:
    assert "not_found" in arker_program.bad(125, "shell", "nothing")
    assert "--bad" in arker_program.bad(125, "shell", "web", "--bad")
    arker_program.bad(125, "shell", "web", "/no/such/program")
    assert "absolute path" in arker_program.bad(125, "shell", "web", "bash")
    assert sessions(arker_program) == 1


@pytest.mark.parametrize(
    ("typed", "sent", "leaves"),
    [
        ([b"ls\r"], b"ls\r", False),
        ([b"~."], b"", True),
        ([b"~", b"."], b"", True),
        ([b"ls\r~.rest"], b"ls\r", True),
        ([b"ls ~.\r"], b"ls ~.\r", False),
        ([b"~~."], b"~.", False),
        ([b"~", b"a\n~", b"~b"], b"~a\n~b", False),
        ([b"~\r~."], b"~\r", True),
    ],
)
def test_keys(typed: list[bytes], sent: bytes, leaves: bool) -> None:
    keys = Keys()
    taken = [keys.take(piece) for piece in typed]
    assert b"".join(piece for piece, _ in taken) == sent
    assert taken[-1][1] is leaves
