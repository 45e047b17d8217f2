"""The protection of the places where the host's directories are mounted into a VM.

A VM can change its own tree in any way, also between two starts. If it makes ``/etc`` a link to
``/oldroot/home/dev``, then bwrap, which creates missing mount points, would create them in the host's directory. So
before every start the path of each mount point is opened without following links, and anything that is not a directory
is replaced. At the path of a volume it is left alone, and the volume is not mounted.

Below a VM's own files there may be layers, which are shared and never written to. Here they are looked through as the
kernel does it: by name from top to bottom; a directory continues those of the same name below it unless it is opaque; a
whiteout hides what is below it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import define, field

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.bubblewrap.identity import Identity
from arker.emulator.sandbox.pressure import lack

_INTO = getattr(os, "O_PATH", 0) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"


@define
class _Spot:
    """A directory of a VM, as descriptors.

    Attributes:
        own: The VM's own one; None while it is only in layers.
        below: Those of the layers that show through, the uppermost first.
        parent: The directory that it is in, and its name there; None for the root.
    """

    own: int | None
    below: Sequence[int]
    parent: tuple[_Spot, str] | None = field(default=None, repr=False)


@define
class _Places:
    """The directories of one VM on the way to one place."""

    owner: Identity | None
    opened: ExitStack

    def root(self, own: Path, layers: Sequence[Path]) -> _Spot:
        return _Spot(self._open(own, None), [self._open(layer, None) for layer in layers])

    def enter(self, spot: _Spot, name: str, *, replace: bool) -> _Spot:
        below, hides = self._below(spot, name)
        if spot.own is not None:
            with suppress(FileNotFoundError):
                try:
                    own = self._open(name, spot.own)
                    _unlock(own)  # else it cannot be asked whether it is opaque
                    return _Spot(own, [] if _is_opaque(own) else below, (spot, name))
                except NotADirectoryError:  # a link, too
                    if not replace and not _is_whiteout(os.stat(name, dir_fd=spot.own, follow_symlinks=False)):
                        raise
                    os.unlink(name, dir_fd=spot.own)
                    return self._make(spot, name, opaque=hides)
        if below:
            return _Spot(None, below, (spot, name))
        if hides and not replace:
            raise NotADirectoryError
        return self._make(spot, name, opaque=False)

    def unlock(self, spot: _Spot) -> None:
        """Restore the owner's access to a directory that the VM has locked."""
        if spot.own is not None:
            _unlock(spot.own)
        elif stat.S_IMODE(os.fstat(spot.below[0]).st_mode) & 0o700 != 0o700:
            _unlock(self.own(spot))

    def own(self, spot: _Spot) -> int:
        """Return the VM's own directory of a spot. One that is only in layers is made, with the same attributes."""
        if spot.own is None:
            assert spot.parent is not None
            above, name = spot.parent
            made = self._make(above, name, opaque=False).own
            assert made is not None
            like = os.fstat(spot.below[0])
            place, model = f"/proc/self/fd/{made}", f"/proc/self/fd/{spot.below[0]}"
            for attribute in os.listxattr(model):
                if attribute.startswith(("user.", "system.posix_acl_")) and not attribute.startswith("user.overlay."):
                    os.setxattr(place, attribute, os.getxattr(model, attribute))
            os.chmod(place, stat.S_IMODE(like.st_mode))
            os.utime(place, ns=(like.st_atime_ns, like.st_mtime_ns))
            spot.own = made
        return spot.own

    def status(self, spot: _Spot, name: str) -> tuple[os.stat_result, int] | None:
        """Return what has a name in a directory, and the descriptor of that one of its directories where it is."""
        for directory in (*([] if spot.own is None else [spot.own]), *spot.below):
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                return None if _is_whiteout(found) else (found, directory)
        return None

    def clear(self, spot: _Spot, name: str) -> int:
        """Remove what is in the way of a new file. Returns the directory to make it in. A directory is only renamed."""
        own = self.own(spot)
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=own, follow_symlinks=False).st_mode):
                os.rename(name, f"{name}.replaced-{os.urandom(4).hex()}", src_dir_fd=own, dst_dir_fd=own)
            else:
                os.unlink(name, dir_fd=own)
        return own

    def give(self, directory: int, name: str) -> None:
        if self.owner is not None:
            os.chown(name, self.owner.uid, self.owner.gid, dir_fd=directory, follow_symlinks=False)

    def _below(self, spot: _Spot, name: str) -> tuple[list[int], bool]:
        """Return the directories of a name in the layers, and whether the layers show anything of that name."""
        found: list[int] = []
        for layer in spot.below:
            try:
                found.append(self._open(name, layer))
            except FileNotFoundError:
                continue
            except NotADirectoryError:
                return found, bool(found) or not _is_whiteout(os.stat(name, dir_fd=layer, follow_symlinks=False))
            if _is_opaque(found[-1]):
                break
        return found, bool(found)

    def _make(self, spot: _Spot, name: str, *, opaque: bool) -> _Spot:
        above = self.own(spot)
        os.mkdir(name, 0o755, dir_fd=above)
        self.give(above, name)
        own = self._open(name, above)
        if opaque:
            os.setxattr(f"/proc/self/fd/{own}", _OPAQUE, b"y")
        return _Spot(own, [], (spot, name))

    def _open(self, name: str | Path, directory: int | None) -> int:
        fd = os.open(name, _INTO, dir_fd=directory)
        self.opened.callback(os.close, fd)
        return fd


def ensure_directory(root: Path, target: str, owner: Identity | None, layers: Sequence[Path] = ()) -> None:
    """Ensure that ``target`` is a real directory below ``root``, whatever is there.

    Raises:
        SandboxError: that cannot be done.
    """
    with _directory(root, target.strip("/").split("/"), owner, layers):
        pass


def find_obstacle(root: Path, target: str, owner: Identity | None, layers: Sequence[Path] = ()) -> str | None:
    """Make ``target`` a directory if nothing is there. Returns what is in the way, and leaves it alone."""
    try:
        with _directory(root, target.strip("/").split("/"), owner, layers, replace=False):
            return None
    except SandboxError as error:
        return str(error)


def ensure_file(root: Path, target: str, owner: Identity | None, layers: Sequence[Path] = ()) -> None:
    """Ensure that ``target`` is a regular file, an empty one if need be. Its directory is treated as in
    `ensure_directory`.

    Raises:
        SandboxError: that cannot be done.
    """
    *parents, name = target.strip("/").split("/")
    with _directory(root, parents, owner, layers) as (places, parent):
        found = places.status(parent, name)
        if found is not None and stat.S_ISREG(found[0].st_mode):
            return
        own = places.clear(parent, name)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=own))
        places.give(own, name)


def ensure_link(root: Path, target: str, content: str, owner: Identity | None, layers: Sequence[Path] = ()) -> None:
    """Ensure that ``target`` is a symlink with this content. Its directory is treated as in `ensure_directory`."""
    *parents, name = target.strip("/").split("/")
    with _directory(root, parents, owner, layers) as (places, parent):
        found = places.status(parent, name)
        if found is not None and stat.S_ISLNK(found[0].st_mode) and os.readlink(name, dir_fd=found[1]) == content:
            return
        own = places.clear(parent, name)
        os.symlink(content, name, dir_fd=own)
        places.give(own, name)


@contextmanager
def _directory(
    root: Path, parts: list[str], owner: Identity | None, layers: Sequence[Path], *, replace: bool = True
) -> Generator[tuple[_Places, _Spot]]:
    try:
        with ExitStack() as opened:
            places = _Places(owner, opened)
            spot = places.root(root, layers)
            places.unlock(spot)
            for name in parts:
                spot = places.enter(spot, name, replace=replace)
                places.unlock(spot)
            yield places, spot
    except NotADirectoryError as error:
        raise SandboxError("unavailable", f"/{'/'.join(parts)} of the VM: a link or a file is in the way") from error
    except OSError as error:
        reason = lack(error)
        if reason is not None:
            raise SandboxError("resource_pressure", reason) from error
        raise SandboxError("unavailable", f"/{'/'.join(parts)} of the VM cannot be used: {error.strerror}") from error


def _unlock(directory: int) -> None:
    mode = stat.S_IMODE(os.fstat(directory).st_mode)
    if mode & 0o700 != 0o700:
        os.chmod(f"/proc/self/fd/{directory}", mode | 0o700)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: int) -> bool:
    with suppress(OSError):
        return os.getxattr(f"/proc/self/fd/{directory}", _OPAQUE) == b"y"
    return False


__all__ = ["ensure_directory", "ensure_file", "ensure_link", "find_obstacle"]
