"""Changes in a directory: told by the kernel of the VM, or found by comparing lists."""

from __future__ import annotations

import asyncio
import math
import posixpath
import re
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from arker._basics.programs import shell_program
from arker._context import Place
from arker._files.refusals import is_utf8
from arker._lifecycle.sdk_session import close_own_session, open_own_session
from arker._paths.listing import Listing
from arker._paths.shell import PathShell
from arker._protocol.identifiers import new_idempotency_key, new_ulid
from arker._runs import commands
from arker._runs.output import RunOutput
from arker._runs.poll import ENDED, Planner
from arker._tasks import clock
from arker._tasks.cleanup import clean_up, end
from arker._tasks.running_loop import running_loop
from arker.entries import FileEvent, FileStat, WatchMethod
from arker.errors import OutputChangedError, RemoteFileNotFoundError, RemoteNotADirectoryError, RunFailedError
from arker.models import CompletedRunResult, RunRequest

if TYPE_CHECKING:
    from arker._runs.follower import RunFollower
    from arker.entries import FileEventKind

_DIRECTORY: Final = shell_program(__package__, "directory.sh")
_INOTIFY: Final = shell_program(__package__, "inotify.py")
_KINDS: Final[dict[bytes, FileEventKind]] = {
    b"created": "created",
    b"modified": "modified",
    b"deleted": "deleted",
    b"overflow": "overflow",
}
_BEGIN_SECONDS: Final = 20.0
_MOST: Final = 256 * 1024
"""Bytes that a program prints, before another one takes over."""
_TEMPORARY: Final = re.compile(rb"(?:.*/)?\.(?:arker-[0-9A-HJKMNP-TV-Z]{26}|upload-[0-9a-f]{24}\Z).*", re.DOTALL)
"""Names under which files are written before they get their own: by the SDK, and by the embedded backend."""


def is_temporary(path: str) -> bool:
    """Return whether a path is that of a file, or below a directory, that has a name for the time of its making."""
    return _TEMPORARY.fullmatch(path.encode("utf-8", "surrogateescape")) is not None


class Watcher(Protocol):
    """A source of events."""

    method: WatchMethod

    async def next(self) -> FileEvent | None:
        """Return the next event; None when the directory has gone, or the source was ended."""
        ...

    async def close(self) -> None:
        """End the source."""
        ...


async def begin(place: Place, where: str, root: str, *, recursive: bool, interval: float) -> Watcher:
    """Begin to watch a directory; changes from now on are told.

    Args:
        place: The VM.
        where: The directory.
        root: The directory, as the caller calls it.
        recursive: Whether to watch the directories below it, too.
        interval: The most seconds until a change is noticed.
    """
    shell = PathShell(place, "watch")
    await shell.run(_DIRECTORY, [where], [where])
    if "python3" in await shell.tools() and is_utf8(where):
        kernel = _Kernel(shell, where, root, recursive=recursive, interval=interval)
        if await kernel.begin():
            return kernel
    polling = _Polling(place, where, root, recursive=recursive, interval=interval)
    await polling.begin()
    return polling


class _Program:
    """A program in the VM that prints what inotify tells."""

    def __init__(self, shell: PathShell, session_id: str, name: str) -> None:
        self._shell = shell
        self._place = shell.place
        self._session_id: str | None = session_id
        self._follower: RunFollower | None = None
        self._output: RunOutput | None = None
        self._rest = b""
        self.name = name
        self.size = 0
        self.ready = False

    async def begin(self, arguments: Sequence[str], interval: float) -> None:
        """Start it."""
        began = clock.now()
        words = ["python3", "-c", _INOTIFY, *arguments]
        request = RunRequest(command=words, session_id=self._session_id, background=True)
        follower = self._follower = await commands.start(self._place, request, new_idempotency_key(), None)
        self._output = RunOutput(
            follower.ask_whether_ended,
            follower.read_for_output,
            Planner(began, True, interval),
            follower.progress(self._shell.operation),
            None,
        )

    async def read(self) -> list[tuple[bytes, bool, str]]:
        """Return the next changes: kind, whether it is a directory, and path. Raise `StopAsyncIteration` at its end."""
        assert self._output is not None
        try:
            chunk = await self._output.__anext__()
        except OutputChangedError:
            raise StopAsyncIteration from None  # its server has been started anew, and what it ran has gone
        if chunk.stream != "stdout":
            return []
        self.size += len(chunk.data)
        *fields, self._rest = (self._rest + chunk.data).split(b"\0")
        whole = len(fields) // 3 * 3
        self._rest = b"\0".join([*fields[whole:], self._rest])
        records = [(fields[at], fields[at + 1] == b"1", fields[at + 2]) for at in range(0, whole, 3)]
        self.ready = self.ready or any(kind == b"ready" for kind, _, _ in records)
        return [(kind, is_dir, path.decode("utf-8", "surrogateescape")) for kind, is_dir, path in records]

    async def result(self) -> CompletedRunResult:
        """Return what it has ended with."""
        assert self._follower is not None
        return self._follower.result_of(await self._follower.read(), "vm.files.watch", check=False)

    async def close(self) -> None:
        session_id, self._session_id = self._session_id, None
        if session_id is not None:
            await close_own_session(self._place, session_id)


class _Kernel:
    """Events of inotify, which a program prints.

    Each reading returns all that it has printed. So when that is much, another program takes over.
    """

    method: WatchMethod = "inotify"

    def __init__(self, shell: PathShell, where: str, root: str, *, recursive: bool, interval: float) -> None:
        self._shell = shell
        self._place = shell.place
        self._where, self._root = where, root
        self._recursive = recursive
        self._interval = interval
        self._program: _Program | None = None
        self._most: float = _MOST
        self._handing_over: asyncio.Task[None] | None = None
        self._found: deque[FileEvent] = deque()
        self._closed = False

    async def begin(self) -> bool:
        """Start the program. Return False if the VM's kernel or its Python does not do this."""
        self._program = await self._started("", self._found)
        return self._program is not None

    async def _started(self, former: str, found: deque[FileEvent]) -> _Program | None:
        """Start a program, and note what it tells while it begins. Return None if it does not."""
        program = _Program(self._shell, (await open_own_session(self._place)).session_id, new_ulid())
        try:
            arguments = [self._where, "1" if self._recursive else "0", program.name, former]
            await program.begin(arguments, self._interval)
            with clock.move_on_after(_BEGIN_SECONDS):
                while not program.ready:
                    self._note(await program.read(), found)
        except StopAsyncIteration:
            pass
        except BaseException:
            await clean_up(program.close())
            raise
        if program.ready:
            return program
        await clean_up(program.close())
        return None

    def _note(self, records: list[tuple[bytes, bool, str]], found: deque[FileEvent]) -> None:
        for kind, is_dir, path in records:
            if kind in _KINDS and not is_temporary(path):
                full = posixpath.join(self._root, path) if path else self._root
                found.append(FileEvent(kind=_KINDS[kind], path=full, is_dir=is_dir))

    async def next(self) -> FileEvent | None:
        program = self._program
        while not self._found and program is not None:
            if program.size >= self._most and self._handing_over is None:
                self._handing_over = running_loop().create_task(self._hand_over(program))
            handing_over = self._handing_over
            if handing_over is not None:
                try:
                    await asyncio.wait({handing_over})  # it goes on if the caller is cancelled meanwhile
                    self._handing_over = None
                    if not self._closed:
                        handing_over.result()
                finally:
                    del handing_over  # it keeps what it failed with, whose traceback has this frame
                program = self._program
                continue
            try:
                self._note(await program.read(), self._found)
            except StopAsyncIteration:
                await self._check_end(program)
                return None
        return self._found.popleft() if self._found else None

    async def _hand_over(self, former: _Program) -> None:
        later: deque[FileEvent] = deque()
        successor = await self._started(former.name, later)
        if successor is None:
            self._most = math.inf  # there is none; or the directory has gone
            return
        try:
            while True:
                self._note(await former.read(), self._found)
        except StopAsyncIteration:
            pass
        except BaseException:
            await clean_up(successor.close())
            raise
        self._found += later
        self._program = successor
        await clean_up(former.close())

    async def _check_end(self, program: _Program) -> None:
        """Raise an error unless the directory has gone, when the program ends by itself, or the watch was closed."""
        if self._closed:
            return
        result = await program.result()
        if result.state == "completed" and result.exit_code == 0:
            return
        # A platform takes up again what runs in a durable VM.
        ended = f"exit code {result.exit_code}" if result.state in ENDED else "it was started anew"
        why = result.fail_reason or ended
        failed = RunFailedError(result)
        raise failed.with_context(
            message=self._place.redact(f"what watched the directory in the VM has ended ({why}): watch it again"),
            operation="vm.files.watch",
            vm_id=self._place.redact(self._place.vm_id),
        )

    async def close(self) -> None:
        self._closed = True
        handing_over, self._handing_over = self._handing_over, None
        if handing_over is not None:
            await end(handing_over)
        program, self._program = self._program, None
        if program is not None:
            await program.close()


class _Polling:
    """Events that are found by comparing lists."""

    method: WatchMethod = "polling"

    def __init__(self, place: Place, where: str, root: str, *, recursive: bool, interval: float) -> None:
        self._place = place
        self._where, self._root = where, root
        self._recursive = recursive
        self._interval = interval
        self._known: dict[str, FileStat] = {}
        self._due = 0.0
        self._closed = False
        self._found: deque[FileEvent] = deque()

    async def begin(self) -> None:
        """Make the first list."""
        self._known = await self._listed()
        self._due = clock.now() + self._interval

    async def _listed(self) -> dict[str, FileStat]:
        listing = Listing(self._place, self._where, "watch", depth=None if self._recursive else 1)
        return {path: stat async for path, stat in listing if not is_temporary(path)}

    async def next(self) -> FileEvent | None:
        while not self._found:
            # Callers that wait for less than the interval, again and again, get to the next list as well.
            await clock.sleep(max(0.0, self._due - clock.now()))
            if self._closed:
                return None
            try:
                now = await self._listed()
            except (RemoteFileNotFoundError, RemoteNotADirectoryError):
                return None
            if not self._closed:
                self._due = clock.now() + self._interval
                self._compare(now)
        return self._found.popleft()

    def _compare(self, now: dict[str, FileStat]) -> None:
        before, self._known = self._known, now
        for path in sorted(before.keys() | now.keys()):
            old, new = before.get(path), now.get(path)
            if old is not None and (new is None or old.inode != new.inode or old.kind != new.kind):
                self._tell("deleted", path, old)
                old = None
            if new is not None:
                if old is None:
                    self._tell("created", path, new)
                elif not new.is_dir and (old.size, old.mtime_ns) != (new.size, new.mtime_ns):
                    self._tell("modified", path, new)

    def _tell(self, kind: FileEventKind, path: str, stat: FileStat) -> None:
        full = posixpath.join(self._root, path)
        self._found.append(FileEvent(kind=kind, path=full, is_dir=stat.is_dir, method=self.method))

    async def close(self) -> None:
        self._closed = True
        self._known = {}
        self._found.clear()


__all__ = ["Watcher", "begin"]
