"""The operations of `AsyncFiles`, done on this machine by `os`: what they have to be like."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any, Final

from arker import AsyncFiles, RemoteFileError

_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
}

Step = tuple[str, tuple[Any, ...], dict[str, Any]]
"""The name of an operation, its arguments, and its keywords."""

Outcome = tuple[str, Any]
"""What came of it: ``ok`` and the result, or ``error`` and the error's number."""


class Local:
    """A directory of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def do(self, step: Step) -> Outcome:
        name, arguments, keywords = step
        try:
            return "ok", getattr(self, name)(*arguments, **keywords)
        except shutil.SameFileError:
            return "error", 22
        except OSError as error:
            return "error", error.errno

    def mkdir(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        Path(self._at(path)).mkdir(parents=parents, exist_ok=exist_ok)

    def write_bytes(self, path: str, data: bytes, *, append: bool = False) -> int:
        with open(self._at(path), "ab" if append else "wb") as file:
            return file.write(data)

    def read_bytes(self, path: str) -> bytes:
        return Path(self._at(path)).read_bytes()

    def remove(self, path: str, *, missing_ok: bool = False) -> None:
        where = self._at(path)
        if os.path.isdir(where) and not os.path.islink(where):
            raise IsADirectoryError(21, "Is a directory")
        Path(where).unlink(missing_ok=missing_ok)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def rmtree(self, path: str) -> None:
        where = self._at(path)
        if os.path.islink(where):
            raise NotADirectoryError(20, "Not a directory")
        shutil.rmtree(where)

    def rename(self, path: str, target: str) -> None:
        os.rename(self._at(path), self._at(target))

    def copy(self, path: str, target: str, *, recursive: bool = False) -> None:
        source, goal = self._at(path), self._at(target)
        if recursive and os.path.isdir(source):
            if os.path.lexists(goal):
                raise FileExistsError(17, "File exists")
            if (goal + "/").startswith(source + "/"):
                raise OSError(22, "Invalid argument")
            shutil.copytree(source, goal, symlinks=True)
            return
        with open(source, "rb"):
            pass
        if os.path.isdir(goal):
            if os.path.samefile(source, goal):
                raise shutil.SameFileError
            raise IsADirectoryError(21, "Is a directory")
        shutil.copy2(source, goal)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, self._at(path))

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    def touch(self, path: str, *, exist_ok: bool = True) -> None:
        Path(self._at(path)).touch(exist_ok=exist_ok)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(self._at(path)))

    def exists(self, path: str) -> bool:
        return os.path.exists(self._at(path))

    def is_file(self, path: str) -> bool:
        return os.path.isfile(self._at(path))

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(self._at(path))

    def stat(self, path: str, *, follow_symlinks: bool = True) -> tuple[Any, ...]:
        return told(os.stat(self._at(path), follow_symlinks=follow_symlinks))

    def walk(self, path: str) -> dict[str, tuple[list[str], list[str]]]:
        os.listdir(self._at(path))  # os.walk passes over errors
        root = self._at(path)
        return {os.path.relpath(at, root): (sorted(below), sorted(files)) for at, below, files in os.walk(root)}


def told(status: os.stat_result) -> tuple[Any, ...]:
    """Return what both sides know of a status, and what is the same on both."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "unknown")
    size = 0 if kind == "directory" else status.st_size
    links = 0 if kind == "directory" else status.st_nlink
    return kind, size, 0 if kind == "symlink" else stat.S_IMODE(status.st_mode), links


class Remote:
    """A directory of a VM, used in the same way."""

    def __init__(self, files: AsyncFiles, root: str) -> None:
        self._files = files
        self.root = root

    async def do(self, step: Step) -> Outcome:
        name, arguments, keywords = step
        paths = {"rename": 2, "copy": 2}.get(name, 1)
        if name == "symlink":
            arguments = (arguments[0], f"{self.root}/{arguments[1]}")
        else:
            arguments = (*(f"{self.root}/{path}" for path in arguments[:paths]), *arguments[paths:])
        try:
            return "ok", await self._call(name, arguments, keywords)
        except RemoteFileError as error:
            named = error.filename is not None and error.operation == f"vm.files.{name}"
            return "error" if named else "error without a name", error.errno

    async def _call(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        files = self._files
        if name == "walk":
            found: dict[str, tuple[list[str], list[str]]] = {}
            async for at, below, others in files.walk(arguments[0]):
                found[os.path.relpath(at, arguments[0])] = (sorted(below), sorted(others))
            return found
        result = await getattr(files, name)(*arguments, **keywords)
        if name == "stat":
            size = 0 if result.is_dir else result.size
            links = 0 if result.is_dir else result.links
            return result.kind, size, 0 if result.is_symlink else result.mode, links
        return sorted(result) if name == "listdir" else result


__all__ = ["Local", "Outcome", "Remote", "Step", "told"]
