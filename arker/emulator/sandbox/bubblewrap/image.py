"""The files of a fresh VM."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

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


def furnish(root: Path, owner: Identity | None) -> None:
    """Fill a new tree, which may have mount points already. Do not use it for a tree that a VM has used."""
    with ExitStack() as opened:

        def enter(path: str | Path, above: int | None) -> int:
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)
            opened.callback(os.close, directory)
            if owner is not None:
                os.fchown(directory, owner.uid, owner.gid)
            return directory

        directories = {"": enter(root, None)}
        for name, mode in _DIRECTORIES.items():
            above, _, own = name.rpartition("/")
            with suppress(FileExistsError):
                os.mkdir(own, dir_fd=directories[above])
            directories[name] = enter(own, directories[above])
            os.fchmod(directories[name], mode)
        for name, content in _files():
            above, _, own = f"etc/{name}".rpartition("/")
            file = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=directories[above])
            try:
                if owner is not None:
                    os.fchown(file, owner.uid, owner.gid)
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(file, rest) :]
            finally:
                os.close(file)


def _files() -> Iterator[tuple[str, bytes]]:
    """Return the files in ``/etc``: some made up, some as they are on the host now."""
    for name, text in _FILES.items():
        yield name, text.encode()
    for name in _COPIES:
        try:
            content = Path("/etc", name).read_bytes()
        except OSError as error:  # not every distribution has each of them
            if lack(error) is not None:
                raise
        else:
            yield name, content


__all__ = ["furnish"]
