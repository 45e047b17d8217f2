"""Someone at a terminal, here or in a VM: types, and waits for what appears. Its screen is a terminal emulator's."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import termios
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import pyte

from arker import AsyncTerminal, Replayed

PATIENCE: Final = 120.0
"""Seconds; more than any of it takes on a machine that is busy with other things."""
PROMPT: Final = b"$ "
ENV: Final = {"PS1": PROMPT.decode(), "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
"""The environment of both shells, which would otherwise say where they are."""
_IUTF8: Final = 0o40000


class Screen(pyte.Screen):
    """A screen that takes the private sequences of editors, which change nothing that can be seen."""

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        if not private:
            super().select_graphic_rendition(*attributes)


class Typist(ABC):
    """Types into a terminal."""

    def __init__(self, cols: int, rows: int) -> None:
        self.seen = bytearray()
        """All output; what was replayed is not in it."""
        self.replays = 0
        self.over = False
        self._pending = bytearray()
        self._come = asyncio.Event()
        self._screen = Screen(cols, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._cols, self._rows = cols, rows

    @abstractmethod
    async def type(self, data: bytes) -> None:
        """Type something."""

    @abstractmethod
    async def resize(self, cols: int, rows: int) -> None:
        """Change the size of the terminal and of the screen."""
        self._draw()
        self._cols, self._rows = cols, rows
        self._screen.resize(rows, cols)

    def take(self, data: bytes) -> None:
        """Take output, none at the end."""
        self.over = self.over or not data
        self.seen += data
        self._pending += data
        self._come.set()

    def _draw(self) -> None:
        # Only when it is looked at: drawing takes much longer than the terminal.
        self._stream.feed(bytes(self._pending))
        self._pending.clear()

    def take_replay(self) -> None:
        """Clear the screen: all that was on it comes again."""
        self.replays += 1
        self._pending.clear()
        self._screen = Screen(self._cols, self._rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def screen(self) -> tuple[list[str], tuple[int, int]]:
        """What is on the screen, and where the cursor is."""
        self._draw()
        return [line.rstrip() for line in self._screen.display], (self._screen.cursor.x, self._screen.cursor.y)

    async def until(self, text: bytes, after: int = 0) -> None:
        """Wait until a text has appeared after so many bytes."""
        looked_at = after

        def is_there() -> bool:
            nonlocal looked_at
            found = self.seen.find(text, looked_at) >= 0
            looked_at = max(looked_at, len(self.seen) - len(text))
            return found

        await self._wait(is_there, text)

    async def until_on_screen(self, text: str) -> None:
        """Wait until a text is on the screen."""
        await self.until_screen(lambda lines: any(text in line for line in lines), text)

    async def until_screen(self, condition: Callable[[list[str]], bool], what: object) -> None:
        """Wait until the lines of the screen meet a condition."""
        await self._wait(lambda: condition(self.screen[0]), what)

    async def until_cursor(self, x: int, y: int) -> None:
        """Wait until the cursor is at this column and line, from 0."""
        await self._wait(lambda: self.screen[1] == (x, y), f"the cursor at {x}, {y}")

    async def until_replayed(self, after: int = 0) -> None:
        """Wait until a connection was made again, after so many bytes."""
        del after
        await self._wait(lambda: self.replays > 0, "a replay")

    async def until_over(self) -> None:
        await self._wait(lambda: self.over, "the end")

    async def _wait(self, condition: Callable[[], bool], what: object) -> None:
        try:
            with anyio.fail_after(PATIENCE):
                while not condition():
                    assert not self.over or what == "the end", f"it ended before {what!r}: {bytes(self.seen[-2000:])!r}"
                    self._come.clear()
                    await self._come.wait()
        except TimeoutError:
            raise AssertionError(f"{what!r} did not come: {bytes(self.seen[-2000:])!r} {self.screen}") from None

    async def press(self, key: bytes, *answers: bytes) -> None:
        """Type a key, and wait for answers, one after the other."""
        place = len(self.seen)
        await self.type(key)
        for answer in answers:
            await self.until(answer, place)
            place = self.seen.index(answer, place) + len(answer)

    async def enter(self, line: str | bytes, answer: bytes = PROMPT) -> None:
        """Type a line and Return, and wait for an answer, by default the next prompt."""
        before = len(self.seen)
        content = line.encode() if isinstance(line, str) else line
        await self.type(content + b"\r")
        # The echo comes first; it may be split at any place, and may hold what the answer is.
        await self.until(b"\n", before)
        await self.until(answer, self.seen.index(b"\n", before))


class Remote(Typist):
    """Types into a terminal of a VM."""

    def __init__(self, terminal: AsyncTerminal) -> None:
        super().__init__(terminal.cols, terminal.rows)
        self.terminal = terminal

    async def type(self, data: bytes) -> None:
        await self.terminal.write(data)

    async def resize(self, cols: int, rows: int) -> None:
        await super().resize(cols, rows)
        await self.terminal.resize(cols, rows)

    async def look(self) -> None:
        """Take what appears, until the end."""
        try:
            async for piece in self.terminal:
                if isinstance(piece, Replayed):
                    self.take_replay()
                else:
                    self.take(piece)
        finally:
            self.take(b"")


class Local(Typist):
    """Types into a terminal of this machine."""

    def __init__(self, fd: int, inner: int, cols: int, rows: int) -> None:
        super().__init__(cols, rows)
        self.process: subprocess.Popen[bytes] | None = None
        """The program."""
        self._fd = fd
        self._inner: int | None = inner
        """The other end, held open until the program has it open: a terminal that nothing has open is over."""

    async def type(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await asyncio.sleep(0.001)

    async def resize(self, cols: int, rows: int) -> None:
        await super().resize(cols, rows)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def ended_with(self) -> int:
        """Return the program's exit status, once it has ended."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def let_go(self) -> None:
        """Close the program's end here."""
        inner, self._inner = self._inner, None
        if inner is not None:
            os.close(inner)

    def look(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.let_go()
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.take(data)


@asynccontextmanager
async def at_remote(terminal: AsyncTerminal) -> AsyncGenerator[Remote, None]:
    """Sit down at a terminal of a VM, which is open."""
    typist = Remote(terminal)
    looking = asyncio.ensure_future(typist.look())
    try:
        yield typist
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        if not looking.cancelled():
            looking.result()


def in_terminal(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> Callable[[int], subprocess.Popen[bytes]]:
    """Return what starts a program at a terminal of this machine, for `at_local`."""

    def start(inner: int) -> subprocess.Popen[bytes]:
        # The first process of a session gets the terminal that it opens as its controlling one.
        opening = 'exec 0<>"$0" 1>&0 2>&0 && exec "$@"'
        return subprocess.Popen(
            ["/bin/sh", "-c", opening, os.ttyname(inner), *argv],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], **env},
            start_new_session=True,
        )

    return start


@asynccontextmanager
async def at_local(
    start: Callable[[int], subprocess.Popen[bytes]],
    *,
    cols: int = 80,
    rows: int = 24,
    made: Callable[[int, int, int, int], Local] = Local,
) -> AsyncGenerator[Local, None]:
    """Sit down at a new terminal of this machine, with a program in it, which is started at its inner end."""
    outer, inner = pty.openpty()
    modes = termios.tcgetattr(outer)
    modes[0] |= _IUTF8
    termios.tcsetattr(outer, termios.TCSANOW, modes)
    os.set_blocking(outer, False)
    typist = made(outer, inner, cols, rows)
    await typist.resize(cols, rows)
    process = typist.process = start(inner)
    loop = asyncio.get_running_loop()
    loop.add_reader(outer, typist.look)
    try:
        yield typist
    finally:
        loop.remove_reader(outer)
        typist.let_go()
        os.close(outer)
        process.kill()
        process.wait()


__all__ = ["ENV", "PATIENCE", "PROMPT", "Local", "Remote", "Typist", "at_local", "at_remote", "in_terminal"]
