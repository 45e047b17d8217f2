"""The state directory: made under a name that cannot be guessed, and removed whatever files a VM has left in it.

It is removed even when all processes that use it are killed at once: a guard, a shell in a session of its own, waits
for the end of a pipe that only they hold, and then removes the directory. If the guard was killed too, the next server
that starts finds that the directory's lock is free, and removes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path

from arker._basics.programs import shell_program
from arker._tasks import clock
from arker.emulator._start import above_standard, pipe

logger = logging.getLogger("arker.emulator")

_PREFIX = "arker-emulator-"
_MARK = ".arker-emulator"
"""A file that marks state directories. Other directories with a similar name do not have it."""
_OTHER_PLACES = (Path("/var/tmp"),)  # noqa: S108
_PATIENCE = 3.0  # seconds; processes that have just been killed may still be writing

_GUARD = shell_program(__package__, "guard.sh")


class StateDir:
    """A new state directory. A VM's user may pass through it (to its own files), but not list it.

    Args:
        parent: The directory to make it in; None is the system's temporary directory.

    Attributes:
        path: The directory.
        keepers: Descriptors. The directory exists as long as any process holds them. A server that is started in it
            gets both.

    Raises:
        OSError: It could not be made.
    """

    def __init__(self, parent: Path | None) -> None:
        self._guard: subprocess.Popen[bytes] | None = None
        self.path, lock = _make_locked(parent)
        self.keepers: tuple[int, ...] = (lock,)
        try:
            end, held = pipe()
            self.keepers = (lock, held)
            try:
                self._guard = _start_guard(self.path, end)
            finally:
                os.close(end)
        except BaseException:
            _close_all(self.keepers)
            remove_state_dir(self.path)
            raise
        self._let_go = weakref.finalize(self, _close_all, self.keepers)

    def remove(self) -> None:
        """Remove the directory with everything in it, after the server has ended. A second call does nothing.

        Raises:
            OSError: It could not be removed now. The guard continues to try for some seconds.
        """
        try:
            remove_state_dir(self.path)
        except OSError:
            self._let_go()  # let the guard remove it
            raise
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
        self._let_go()

    def leave(self) -> None:
        """Let go of the directory in a forked process: it belongs to the parent."""
        self._let_go()
        if self._guard is not None:
            self._guard.returncode = 0  # this process cannot wait for it


def _parent(wanted: Path | None) -> Path:
    """Return the directory to make a state directory in. Files of VMs in it have to be executable."""
    places = [Path(tempfile.gettempdir())] if wanted is None else [wanted]
    if wanted is None and _is_noexec(places[0]):
        places += [place for place in _OTHER_PLACES if os.access(place, os.W_OK | os.X_OK) and not _is_noexec(place)]
    if _is_noexec(places[-1]):
        logger.warning(
            "the file system of %s is mounted noexec: what VMs have in their own files cannot be started as a program; "
            "choose another directory with state_parent",
            places[-1],
        )
    # Absolute, since the server has another working directory.
    return Path(os.path.abspath(places[-1]))


def _is_noexec(place: Path) -> bool:
    try:
        return bool(os.statvfs(place).f_flag & getattr(os, "ST_NOEXEC", 0))
    except OSError:
        return False


def _make_locked(parent: Path | None) -> tuple[Path, int]:
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parent(parent)))
    try:
        path.chmod(0o700)  # independent of this process's umask
        lock = above_standard(os.open(path, os.O_RDONLY))
    except BaseException:
        remove_state_dir(path)
        raise
    try:
        _try_lock(lock)
        (path / _MARK).touch(mode=0o600)  # only now may other servers treat it as that of a dead server
        path.chmod(0o711)
    except BaseException:
        _close_all((lock,))
        remove_state_dir(path)
        raise
    return path, lock


def _try_lock(descriptor: int) -> bool | None:
    """Take the lock of a directory. It lasts until every copy of the descriptor is closed. None if locks do not work
    here.
    """
    try:
        import fcntl
    except ImportError:  # no such system has VMs
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _start_guard(path: Path, end: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "arker-emulator-guard", str(path)],
        stdin=end,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
    )


def sweep(parent: Path) -> None:
    """Remove what dead servers of this user have left in a directory, in a thread that nothing waits for."""
    threading.Thread(target=_sweep, args=(parent,), name="arker-emulator-sweep", daemon=True).start()


def _sweep(parent: Path) -> None:
    with contextlib.suppress(OSError):
        for path in [path for path in parent.iterdir() if path.name.startswith(_PREFIX)]:
            with contextlib.suppress(OSError):
                status = path.lstat()
                if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                    continue
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    if _try_lock(lock) and stat.S_ISREG((path / _MARK).lstat().st_mode):
                        remove_state_dir(path)
                finally:
                    os.close(lock)


def remove_state_dir(path: Path) -> None:
    """Remove the directory with everything in it. A directory that does not exist is no error.

    Raises:
        OSError: It could not be removed.
    """
    give_up = clock.now() + _PATIENCE
    while True:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return
        except (OSError, RecursionError):
            # Directories without permission bits, or nested deeper than Python recurses.
            for command in (["chmod", "-R", "u+rwX", "--", str(path)], ["rm", "-rf", "--", str(path)]):
                subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        if not os.path.lexists(path):
            return
        if clock.now() > give_up:
            raise OSError(f"the state directory {path} could not be removed")
        clock.pause(0.05)


def _close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


__all__ = ["StateDir", "remove_state_dir", "sweep"]
