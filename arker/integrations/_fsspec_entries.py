"""What fsspec's filesystem tells of files."""

from __future__ import annotations

from typing import Any

from arker import AsyncVM
from arker._paths.status import stats
from arker.entries import FileStat


async def scanned(vm: AsyncVM, path: str, inner: str, *, detail: bool, recursive: bool = False) -> list[dict[str, Any]]:
    """Tell of what is in a directory.

    Args:
        vm: The VM.
        path: The directory, with the VM.
        inner: The directory.
        detail: Whether symlinks to files have the size of what is read of them.
        recursive: Whether to go into its directories, too.
    """
    prefix = path.partition("/")[0]
    entries = [entry async for entry in vm.files.scandir(inner, recursive=recursive)]
    links = [entry.path for entry in entries if detail and entry.stat.target_kind == "file"]
    files = await stats(vm.files._place, links, "scandir")
    return [
        followed(prefix + entry.path, entry.stat, files[entry.path])
        if entry.path in files
        else described(prefix + entry.path, entry.stat)
        for entry in entries
    ]


def described(name: str, stat: FileStat) -> dict[str, Any]:
    """Tell of a path."""
    kinds = {"file": "file", "directory": "directory", "symlink": "link"}
    told: dict[str, Any] = {
        "name": name.rstrip("/"),
        "size": 0 if stat.is_dir else stat.size,
        "type": kinds.get(stat.kind, "other"),
        "mode": stat.mode,
        "uid": stat.uid,
        "gid": stat.gid,
        "ino": stat.inode,
        "nlink": stat.links,
        "islink": stat.is_symlink,
        **{
            key: None if value is None else value / 1e9
            for key, value in (("mtime", stat.mtime_ns), ("ctime", stat.ctime_ns), ("created", stat.ctime_ns))
        },
    }
    return {**told, "destination": stat.target} if stat.is_symlink else told


def followed(name: str, link: FileStat, leads_to: FileStat) -> dict[str, Any]:
    """Tell of a symlink, and what it leads to."""
    return {**described(name, leads_to), "islink": True, "destination": link.target}


__all__ = ["described", "followed", "scanned"]
