"""The embedded backend that ``arker emulator`` runs: a file says where it is, so that other commands find it.

The file is for its owner alone, since the backend's token is in it. Its lock is held for as long as the backend's
process lives, in whatever way that ends; so a file that is left behind is never taken for a backend.
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

_NAME: Final = "emulator.json"


@frozen
class Backend:
    """A backend that runs on this machine.

    Attributes:
        url: Its base URL.
        api_key: The token that it asks for.
    """

    url: str
    api_key: str = field(repr=False)


def _file() -> Path | None:
    directory = state_directory()
    return None if directory is None else directory / "arker" / _NAME


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
        """Write the file, in place of another backend's. Returns whether other commands will find the backend."""
        path = _file()
        if path is None or fcntl is None:
            return False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f".{_NAME}-", dir=path.parent)  # of mode 0600
        except OSError:
            return False
        self._descriptor, self._path = descriptor, path
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, json.dumps({"url": url, "api_key": api_key}).encode())
            os.rename(name, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            self.end()
            return False
        return True

    def end(self) -> None:
        """Remove the file, unless another backend has put its own there."""
        descriptor, path, self._descriptor = self._descriptor, self._path, None
        if descriptor is None or path is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                os.unlink(path)
        os.close(descriptor)


def find() -> Backend | None:
    """Return the backend that ``arker emulator`` runs; None if there is none."""
    path = _file()
    if path is None or fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # its backend lives
        except OSError:
            return None
        else:
            return None
        try:
            found = json.loads(file.read(65536))
            return Backend(str(found["url"]), str(found["api_key"]))
        except (ValueError, KeyError, TypeError):
            return None


__all__ = ["Announcement", "Backend", "announced", "find"]
