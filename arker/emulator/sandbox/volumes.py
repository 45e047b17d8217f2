"""Directories that outlive VMs, and checks of the paths where VMs have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from arker.emulator.sandbox.base import HOME, SandboxError, Volume
from arker.emulator.sandbox.trees import DirectoryTree

Volumes: TypeAlias = Mapping[str, DirectoryTree]
"""Volumes by their paths in a VM."""


def check_volumes(volumes: Mapping[str, Volume], reserved: Iterable[str]) -> Volumes:
    """Check the volumes that `Sandbox.bind` was given.

    Args:
        volumes: Volumes by path.
        reserved: Paths that the VM's own mounts take; no volume may be above, at or below one.

    Raises:
        SandboxError: a path is not possible.
    """
    checked: dict[str, DirectoryTree] = {}
    reserved = tuple(reserved)
    for path, volume in volumes.items():
        if not isinstance(volume, DirectoryTree):
            raise TypeError("a volume can only be bound by the provider that made it")
        if not is_normal(path):
            raise SandboxError("bad_request", f"{path!r} is not an absolute path without empty parts, '.' and '..'")
        if _is_below(HOME, path) or any(overlap(path, taken) for taken in reserved):
            raise SandboxError("bad_request", f"the VM needs {path} for itself")
        # With one volume inside another, the files of the outer one could redirect the inner one.
        nested = next((other for other in checked if overlap(path, other)), None)
        if nested is not None:
            raise SandboxError("bad_request", f"{path} and {nested} overlap")
        checked[path] = volume
    return checked


def is_normal(path: str) -> bool:
    """Return whether a path is absolute, without empty parts, ``.`` and ``..``."""
    parts = path.split("/")[1:]
    return path.startswith("/") and (path == "/" or not {"", ".", ".."} & set(parts)) and "\0" not in path


def overlap(one: str, other: str) -> bool:
    """Return whether one path is equal to the other or below it, in either direction."""
    return _is_below(one, other) or _is_below(other, one)


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")


__all__ = ["Volumes", "check_volumes", "is_normal", "overlap"]
