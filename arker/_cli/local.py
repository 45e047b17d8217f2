"""The embedded backends that ``arker emulator`` runs: each has a file that says where it is, so that commands find it.

The files are for their owner alone, since a backend's token is in its file. The lock of a file is held for as long as
the backend's process lives, in whatever way that ends; so a file that is left behind is never taken for a backend.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import field, frozen

from arker.config import state_directory

try:
    import fcntl
except ImportError:  # a system without such locks has no VMs either
    fcntl = None  # type: ignore[assignment]

_PREFIX: Final = "emulator-"
_SUFFIX: Final = ".json"


@frozen
class Backend:
    """A backend that runs on this machine.

    Attributes:
        url: Its base URL.
        api_key: The token that it asks for.
    """

    url: str
    api_key: str = field(repr=False)


def _directory() -> Path | None:
    directory = state_directory()
    return None if directory is None else directory / "arker"


@contextmanager
def announced() -> Generator[Announcement, None, None]:
    """Announce a backend for the length of the block, once it is known."""
    announcement = Announcement()
    try:
        yield announcement
    finally:
        announcement.end()


class Announcement:
    """The file of one backend."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._path: Path | None = None

    def begin(self, url: str, api_key: str) -> bool:
        """Write the file, and remove those left behind. Returns whether other commands will find the backend."""
        directory = _directory()
        if directory is None or fcntl is None:
            return False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, hidden = tempfile.mkstemp(prefix=f".{_PREFIX}", suffix=_SUFFIX, dir=directory)  # of mode 0600
        except OSError:
            return False
        self._descriptor = descriptor
        self._path = directory / os.path.basename(hidden).removeprefix(".")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, json.dumps({"url": url, "api_key": api_key}).encode())
            os.rename(hidden, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            self.end()
            return False
        for each in _files(directory):
            with contextlib.suppress(OSError), open(each, "rb", opener=_opener) as file:
                if _is_own(file.fileno()) and not _is_locked(file.fileno()):
                    each.unlink()
        return True

    def end(self) -> None:
        """Remove the file."""
        descriptor, path, self._descriptor = self._descriptor, self._path, None
        if descriptor is None or path is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                os.unlink(path)
        os.close(descriptor)


def find() -> Backend | None:
    """Return the backend that ``arker emulator`` runs, the one started last of several; None if there is none."""
    directory = _directory()
    if directory is None or fcntl is None:
        return None
    found = (_read(path) for path in _files(directory))
    return next((backend for backend in found if backend is not None), None)


def _files(directory: Path) -> list[Path]:
    """Return the files of backends, those written last first."""
    written: list[tuple[int, str, Path]] = []
    with contextlib.suppress(OSError):
        for path in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                written.append((path.lstat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(written, reverse=True)]


def _read(path: Path) -> Backend | None:
    """Return the backend of a file; None if it has ended, or if the file may be another user's."""
    try:
        with open(path, "rb", opener=_opener) as file:
            private = os.fstat(file.fileno()).st_mode & 0o077 == 0
            if not private or not _is_own(file.fileno()) or not _is_locked(file.fileno()):
                return None
            found = json.loads(file.read(65536))
        return Backend(str(found["url"]), str(found["api_key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _is_own(descriptor: int) -> bool:
    """Return whether it is a file of this user's."""
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _is_locked(descriptor: int) -> bool:
    """Return whether the file's backend lives."""
    assert fcntl is not None, "no file is looked at without locks"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


__all__ = ["Announcement", "Backend", "announced", "find"]
