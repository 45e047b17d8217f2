"""Changes in a directory: told by the kernel of the VM, or found by comparing lists."""

from __future__ import annotations

import posixpath
import re
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from arker._basics.programs import shell_program
from arker._context import Place
from arker._files.refusals import is_utf8
from arker._lifecycle.sdk_session import close_own_session, open_own_session
from arker._paths.listing import Listing
from arker._paths.shell import PathShell
from arker._protocol.identifiers import new_idempotency_key
from arker._runs import commands
from arker._runs.output import RunOutput
from arker._runs.poll import Planner
from arker._tasks import clock
from arker._tasks.cleanup import clean_up
from arker.entries import FileEvent, FileStat, WatchMethod
from arker.errors import RemoteFileNotFoundError, RemoteNotADirectoryError, RunFailedError
from arker.models import RunRequest

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
        try:
            if await kernel.begin():
                return kernel
        except BaseException:
            await clean_up(kernel.close())
            raise
        await clean_up(kernel.close())
    polling = _Polling(place, where, root, recursive=recursive, interval=interval)
    await polling.begin()
    return polling


class _Kernel:
    """Events of inotify, which a program prints."""

    method: WatchMethod = "inotify"

    def __init__(self, shell: PathShell, where: str, root: str, *, recursive: bool, interval: float) -> None:
        self._shell = shell
        self._place = shell.place
        self._where, self._root = where, root
        self._recursive = recursive
        self._interval = interval
        self._session_id: str | None = None
        self._follower: RunFollower | None = None
        self._output: RunOutput | None = None
        self._rest = b""
        self._found: deque[FileEvent] = deque()
        self._ready = self._over = False

    async def begin(self) -> bool:
        """Start the program. Return False if the VM's kernel or its Python does not do this."""
        place = self._place
        self._session_id = (await open_own_session(place)).session_id
        began = clock.now()
        words = ["python3", "-c", _INOTIFY, self._where, "1" if self._recursive else "0"]
        request = RunRequest(command=words, session_id=self._session_id, background=True)
        follower = self._follower = await commands.start(place, request, new_idempotency_key(), None)
        self._output = RunOutput(
            follower.ask_whether_ended,
            follower.read_for_output,
            Planner(began, True, self._interval),
            follower.progress(self._shell.operation),
            None,
        )
        with clock.move_on_after(_BEGIN_SECONDS):
            while not self._ready:
                try:
                    await self._read()
                except StopAsyncIteration:
                    return False
        return self._ready

    async def _read(self) -> None:
        assert self._output is not None
        chunk = await self._output.__anext__()
        if chunk.stream != "stdout":
            return
        *fields, self._rest = (self._rest + chunk.data).split(b"\0")
        whole = len(fields) // 3 * 3
        for at in range(0, whole, 3):
            kind, is_dir, path = fields[at : at + 3]
            named = path.decode("utf-8", "surrogateescape")
            if kind == b"ready":
                self._ready = True
            elif kind in _KINDS and not is_temporary(named):
                event = FileEvent(
                    kind=_KINDS[kind],
                    path=posixpath.join(self._root, named) if named else self._root,
                    is_dir=is_dir == b"1",
                )
                self._found.append(event)
        self._rest = b"\0".join([*fields[whole:], self._rest])

    async def next(self) -> FileEvent | None:
        while not self._found:
            try:
                await self._read()
            except StopAsyncIteration:
                await self._check_end()
                return None
        return self._found.popleft()

    async def _check_end(self) -> None:
        """Raise an error unless the directory has gone, when the program ends by itself, or the watch was closed."""
        if self._session_id is None:
            return
        follower = self._follower
        assert follower is not None
        result = follower.result_of(await follower.read(), "vm.files.watch", check=False)
        if result.state == "completed" and result.exit_code == 0:
            return
        why = result.fail_reason or f"exit code {result.exit_code}"
        failed = RunFailedError(result)
        raise failed.with_context(
            message=self._place.redact(f"what watched the directory in the VM has ended ({why}): watch it again"),
            operation="vm.files.watch",
            vm_id=self._place.redact(self._place.vm_id),
        )

    async def close(self) -> None:
        session_id, self._session_id = self._session_id, None
        if session_id is not None:
            await close_own_session(self._place, session_id)


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
