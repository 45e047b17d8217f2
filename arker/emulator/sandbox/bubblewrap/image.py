"""The files of a fresh VM."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from arker.emulator.sandbox.base import HOME
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


__all__ = ["furnish", "give"]
