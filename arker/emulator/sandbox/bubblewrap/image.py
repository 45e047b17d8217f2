"""The files of a fresh VM."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from arker.emulator.sandbox.base import HOME
from arker.emulator.sandbox.bubblewrap.identity import Identity
from arker.emulator.sandbox.pressure import lack

_DIRECTORIES = {
    "etc": 0o755,
    "etc/ssl": 0o755,
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
    *("localtime", "resolv.conf", "mime.types", "services", "protocols", "os-release"),
    "ssl/openssl.cnf",  # of /etc/ssl only this and certs: the host's private keys are in there too
)


@frozen
class Points:
    """What the host's parts are mounted over or linked from, by its path relative to a VM's root.

    Attributes:
        directories: Directories, each after the one that it is in.
        files: Empty files.
        links: Symlinks, with their contents.
    """

    directories: Sequence[str]
    files: Sequence[str]
    links: Sequence[tuple[str, str]]


def furnish(root: Path, owner: Identity | None, points: Points | None = None) -> None:
    """Fill a new tree. Do not use it for a tree that a VM has used.

    Args:
        root: Its root.
        owner: The user of VMs; None for the current user.
        points: Mount points to be made along with the rest; None where the tree has them.
    """
    points = points or Points((), (), ())
    directories = {**dict.fromkeys(points.directories, 0o755), **_DIRECTORIES}
    _make(root, owner, directories, [*_files(), *((name, b"") for name in points.files)], points.links)


def make_points(root: Path, owner: Identity | None, points: Points) -> None:
    """Make the mount points in a new tree, and nothing else. Do not use it for a tree that a VM has used."""
    directories = dict.fromkeys(points.directories, 0o755)
    _make(root, owner, directories, [(name, b"") for name in points.files], points.links)


def _make(
    root: Path,
    owner: Identity | None,
    directories: Mapping[str, int],
    files: Iterable[tuple[str, bytes]],
    links: Iterable[tuple[str, str]],
) -> None:
    """Make all of this, by paths relative to the root: no link leads astray where no VM has been. Directories may be
    there, and get their modes.
    """
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:

        def give(name: str) -> None:
            if owner is not None:
                os.chown(name, owner.uid, owner.gid, dir_fd=top, follow_symlinks=False)

        for name in sorted(directories, key=lambda name: name.count("/")):
            try:
                os.mkdir(name, dir_fd=top)
            except FileExistsError:
                pass
            give(name)
            os.chmod(name, directories[name], dir_fd=top)
        for name, content in files:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=top)
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(file, rest) :]
            finally:
                os.close(file)
            give(name)
        for name, target in links:
            os.symlink(target, name, dir_fd=top)
            give(name)
    finally:
        os.close(top)


def _files() -> Iterator[tuple[str, bytes]]:
    """Return the files in ``/etc``: some made up, some as they are on the host now."""
    for name, text in _FILES.items():
        yield f"etc/{name}", text.encode()
    for name in _COPIES:
        try:
            content = Path("/etc", name).read_bytes()
        except OSError as error:  # not every distribution has each of them
            if lack(error) is not None:
                raise
        else:
            yield f"etc/{name}", content


__all__ = ["Points", "furnish", "make_points"]
