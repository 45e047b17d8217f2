"""The files of a fresh VM, and the protection of the places where the host's directories are mounted into it.

A VM can change its own tree in any way, also between two starts. If it makes ``/etc`` a link to
``/oldroot/home/dev``, then bwrap, which creates missing mount points, would create them in the host's directory. So
before every start the path of each mount point is opened without following links, and anything that is not a directory
is replaced. At the path of a volume it is left alone, and the volume is not mounted.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from arker.emulator.sandbox.base import HOME, SandboxError
from arker.emulator.sandbox.bubblewrap.identity import Identity
from arker.emulator.sandbox.pressure import lack

_DIRECTORIES = {
    "etc": 0o755,
    "dev": 0o755,
    "proc": 0o755,
    "sys": 0o755,
    "run": 0o755,
    "usr": 0o755,
    "tmp": 0o1777,
    "var": 0o755,
    "var/tmp": 0o1777,
    "home": 0o755,
    HOME.lstrip("/"): 0o755,
    "root": 0o700,
    "opt": 0o755,
    "srv": 0o755,
    "mnt": 0o755,
}
_FILES = {
    "passwd": (
        "root:x:0:0:root:/root:/bin/bash\n"
        f"user:x:1000:1000:user:{HOME}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1\tlocalhost vm\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "hostname": "vm\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}
_COPIES = (
    *("ld.so.cache", "localtime", "resolv.conf", "mime.types", "services", "protocols", "os-release"),
    "ssl/openssl.cnf",  # of /etc/ssl only this and certs: the host's private keys are in there too
)


def give(root: Path, owner: Identity | None) -> None:
    """Make a new, empty directory the owner's."""
    if owner is not None:
        os.chown(root, owner.uid, owner.gid)


def furnish(root: Path, owner: Identity | None) -> None:
    """Fill a new, empty tree. Do not use it for a tree that a VM has used."""
    for name, mode in _DIRECTORIES.items():
        place = root / name
        place.mkdir()
        place.chmod(mode)
    etc = root / "etc"
    (etc / "ssl").mkdir()
    for name, text in _FILES.items():
        (etc / name).write_text(text)
    for name in _COPIES:
        try:
            shutil.copyfile(Path("/etc", name), etc / name)
        except OSError as error:  # not every distribution has each of them
            if lack(error) is not None:
                raise
    give(root, owner)
    if owner is not None:
        for directory, directories, files in os.walk(root):
            for name in directories + files:
                os.chown(Path(directory, name), owner.uid, owner.gid, follow_symlinks=False)


def ensure_directory(root: Path, target: str, owner: Identity | None) -> None:
    """Ensure that ``target`` is a real directory below ``root``, whatever is there.

    Raises:
        SandboxError: that cannot be done.
    """
    with _open_directory(root, target.strip("/").split("/"), owner):
        pass


def find_obstacle(root: Path, target: str, owner: Identity | None) -> str | None:
    """Make ``target`` a directory if nothing is there. Returns what is in the way, and leaves it alone."""
    try:
        with _open_directory(root, target.strip("/").split("/"), owner, replace=False):
            return None
    except SandboxError as error:
        return str(error)


def ensure_file(root: Path, target: str, owner: Identity | None) -> None:
    """Ensure that ``target`` is a regular file, an empty one if need be. Its directory is treated as in
    `ensure_directory`.

    Raises:
        SandboxError: that cannot be done.
    """
    *parents, name = target.strip("/").split("/")
    with _open_directory(root, parents, owner) as parent:
        with suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if stat.S_ISREG(mode):
                return
            _clear(parent, name, mode)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        _give(parent, name, owner)


def ensure_link(root: Path, target: str, content: str, owner: Identity | None) -> None:
    """Ensure that ``target`` is a symlink with this content. Its directory is treated as in `ensure_directory`."""
    *parents, name = target.strip("/").split("/")
    with _open_directory(root, parents, owner) as parent:
        with suppress(OSError):
            if os.readlink(name, dir_fd=parent) == content:
                return
        with suppress(FileNotFoundError):
            _clear(parent, name, os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        os.symlink(content, name, dir_fd=parent)
        _give(parent, name, owner)


def _clear(parent: int, name: str, mode: int) -> None:
    """Clear a name: remove what is there. A directory is only renamed."""
    if stat.S_ISDIR(mode):
        os.rename(name, f"{name}.replaced-{os.urandom(4).hex()}", src_dir_fd=parent, dst_dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


@contextmanager
def _open_directory(root: Path, parts: list[str], owner: Identity | None, *, replace: bool = True) -> Generator[int]:
    fd = -1
    try:
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        _unlock(fd)
        for name in parts:
            child = _enter(fd, name, owner, replace=replace)
            os.close(fd)
            fd = child
            _unlock(fd)
        yield fd
    except NotADirectoryError as error:
        raise SandboxError("unavailable", f"/{'/'.join(parts)} of the VM: a link or a file is in the way") from error
    except OSError as error:
        reason = lack(error)
        if reason is not None:
            raise SandboxError("resource_pressure", reason) from error
        raise SandboxError("unavailable", f"/{'/'.join(parts)} of the VM cannot be used: {error.strerror}") from error
    finally:
        if fd >= 0:
            os.close(fd)


def _enter(parent: int, name: str, owner: Identity | None, *, replace: bool) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        try:
            return os.open(name, flags, dir_fd=parent)
        except NotADirectoryError:  # a link, too
            if not replace:
                raise
            os.unlink(name, dir_fd=parent)
    os.mkdir(name, 0o755, dir_fd=parent)
    _give(parent, name, owner)
    return os.open(name, flags, dir_fd=parent)


def _unlock(fd: int) -> None:
    """Restore the owner's access to a directory that the VM has locked."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & 0o700 != 0o700:
        os.chmod(f"/proc/self/fd/{fd}", mode | 0o700)


def _give(parent: int, name: str, owner: Identity | None) -> None:
    if owner is not None:
        os.chown(name, owner.uid, owner.gid, dir_fd=parent, follow_symlinks=False)


__all__ = ["ensure_directory", "ensure_link", "find_obstacle", "furnish", "give"]
