"""What tests type at terminals, here and in a VM, to compare what appears."""

from __future__ import annotations

import asyncio
from typing import Final

import anyio

from tests.support.relay import Relay
from tests.support.typist import ENV, PATIENCE, PROMPT, Typist

SHELL: Final = ("/bin/bash", "--noprofile", "--norc")
FOREGROUND: Final = """bash -c 'trap "echo contin""ued" CONT; echo be""gun; while :; do read -t 0.01; done'"""
"""Says when it is in the foreground: before that, a key would be the shell's.

It looks for signals again and again, by itself: a shell that a Ctrl-Z finds starting a program may not stop.
"""
RESIZED: Final = """sh -c 'trap "stty size; exit" WINCH; echo be""gun; while :; do sleep 0.01; done'"""
"""Says the size once that has changed."""
TAKING: Final = """sh -c 'echo be""gun; exec cat'"""
"""Says when what is typed is its input: before that, the shell still changes how the terminal echoes."""
DRAWING: Final = r"""sh -c 'draw() { printf "\033[2J\033[Hdra""wn\033[5;1Hen""ded\n"; }; trap draw WINCH; draw
head -c 300000 /dev/zero; printf "\033[5;1Hended\n"; while :; do sleep 0.02; done'"""
"""Draws a screen once, and again when the size has changed; then it writes more than is kept for a replay."""
TOP: Final = ("top -", "Tasks:", "%Cpu(s):", "MiB Mem :", "MiB Swap:")
"""What the first lines of top begin with."""


async def begin(typist: Typist) -> None:
    """Begin as the same shell as any other, whatever the login files are."""
    await typist.until(PROMPT)
    settings = " ".join(f"{name}='{value}'" for name, value in ENV.items())
    await typist.enter(f'exec env -i PATH="$PATH" {settings} {" ".join(SHELL)}')
    await typist.enter("cd $(mktemp -d here.XXXXXX)")  # below where it has begun: what is elsewhere would stay
    typist.seen.clear()


async def use_shell(typist: Typist) -> None:
    """Do what people do at a shell, and leave it with exit code 7."""
    await typist.enter(r"printf 'one\ttwo\n\033[31mred\033[0m\n'")
    await typist.enter("stty size; stty -a")
    await typist.enter(RESIZED, b"begun\r\n")
    await typist.resize(100, 30)
    await typist.until(b"30 100\r\n")
    await typist.until(PROMPT, typist.seen.index(b"30 100\r\n"))
    await typist.enter(RESIZED, b"begun\r\n")
    await typist.resize(90, 25)
    await typist.until(b"25 90\r\n")
    await typist.until(PROMPT, typist.seen.index(b"25 90\r\n"))
    await typist.enter("stty size")
    await typist.enter("printf 'äöü € 😀 \\377\\n'")
    await typist.enter(TAKING, b"begun\r\n")
    # Erasing takes away a whole character.
    await typist.enter("aé€\x7f\x7fb", b"ab\r\n")
    await typist.press(b"\x04", PROMPT)
    await typist.enter(FOREGROUND, b"begun\r\n")
    await typist.press(b"\x03", b"^C", PROMPT)
    await typist.enter("echo $?")
    await typist.enter(FOREGROUND, b"begun\r\n")
    await typist.press(b"\x1a", b"Stopped", PROMPT)
    await typist.enter("jobs")
    await typist.enter("fg", b"continued\r\n")
    await typist.press(b"\x03", b"^C", PROMPT)
    await typist.enter("tty | sed 's/[0-9]//g'; ps -o tty= -p $$ | sed 's/[0-9]//g'; echo ${-//[^im]/}")
    await typist.enter("exit 7", b"exit")
    await typist.until_over()


async def edit(typist: Typist, network: Relay | None = None) -> None:
    """Write a file with vi, and look at it; the network may fail in the middle."""
    await typist.enter("vi -u NONE -i NONE file", b"file")
    await typist.until_on_screen("file")
    await typist.type(b"iThe first line\rThe second line \xe2\x82\xac\rThe third\x1b")
    await typist.until_on_screen("The third")
    await typist.type(b"ggdd:echo 'line' line('$')\r")
    await typist.until_on_screen("line 2")  # what is lost on the way to a terminal is lost
    if network is not None:
        assert network.cut() > 0
        await typist.until_replayed()
    await typist.press(b"yy20p", b"20 more lines")  # it may have gone from the screen, which is drawn anew
    await typist.resize(60, 20)
    await typist.type(b":set number\r")
    await typist.until_on_screen(" 19 ")
    await typist.type(b"17Gccchanged\x1b:w\r")
    await typist.until_on_screen("written")
    await typist.until_cursor(14, 16)


async def end_editing(typist: Typist) -> None:
    """Leave vi, and print what it has written."""
    await typist.press(b":q\r", PROMPT)
    await typist.enter("cat file", b"changed")
    await typist.until(PROMPT, typist.seen.rindex(b"changed"))


async def use_top(typist: Typist) -> list[str]:
    """Look at top, in two sizes, until it is told to end. Returns the names of its columns."""
    await typist.enter("top -d 0.2", b"PID")
    columns = await _columns(typist)
    await typist.resize(60, 20)

    def narrow(lines: list[str]) -> bool:
        names = lines[6].split()
        return _has_all_lines(lines) and len(names) < len(columns) and columns[: len(names)] == names

    # What it has drawn for the old size may still be on its way.
    await typist.until_screen(narrow, "fewer columns")
    await typist.press(b"q", PROMPT)
    await typist.enter("echo $?", b"0\r\n")
    return columns


async def _columns(typist: Typist) -> list[str]:
    """Wait for all that has a fixed place, and return the names of the columns."""
    await typist.until_screen(_has_all_lines, "top's lines")
    return typist.screen[0][6].split()


def _has_all_lines(lines: list[str]) -> bool:
    return [*map(_kind, lines[:5])] == [*TOP] and "PID" in lines[6]


def _kind(line: str) -> str:
    return next((each for each in TOP if line.startswith(each)), line)


async def use_drawing(typist: Typist, network: Relay | None = None) -> None:
    """Look at what draws its screen once; the network may fail after that."""
    for line in DRAWING.splitlines():
        await typist.type(line.encode() + b"\r")
    await typist.until(b"\0\x1b[5;1Hended\r\n")
    if network is not None:
        assert network.cut() > 0
        await typist.until_replayed()


async def until_same(there: Typist, here: Typist) -> None:
    """Wait until both screens show the same."""
    try:
        with anyio.fail_after(PATIENCE):
            while there.screen != here.screen:
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{there.screen} is not {here.screen}") from None
