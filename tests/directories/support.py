"""Directories as values: made up, put on disk, read back; and plans as short texts."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from attrs import frozen
from hypothesis import HealthCheck
from hypothesis import strategies as st

from arker import AsyncVM, DirectoryReport
from arker._directories.entries import to_bytes, to_text
from arker._directories.plan import Step

SHELLS = [[name, *rest] for name, *rest in (["sh"], ["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(name)]
"""What runs programs in VMs, as far as it is here."""


@frozen
class File:
    data: bytes = b""
    mode: int = 0o644


@frozen
class Directory:
    mode: int = 0o755


@frozen
class Link:
    target: str


Node: TypeAlias = File | Directory | Link
Model: TypeAlias = dict[str, Node]
"""What a directory holds, by path; bytes that are not UTF-8 are surrogates."""


def build(root: Path, model: Mapping[str, Node]) -> Path:
    """Put it on disk; directories on the way are made as needed."""
    root.mkdir(parents=True, exist_ok=True)
    base = os.fsencode(root)
    for path, node in model.items():
        place = os.path.join(base, to_bytes(path))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if isinstance(node, File):
            with open(place, "wb") as file:
                file.write(node.data)
            os.chmod(place, node.mode)
        elif isinstance(node, Link):
            os.symlink(to_bytes(node.target), place)
        else:
            os.makedirs(place, exist_ok=True)
    for path, node in reversed(list(model.items())):
        if isinstance(node, Directory):
            os.chmod(os.path.join(base, to_bytes(path)), node.mode)
    return root


def look(root: Path) -> Model:
    """Return what is on disk."""
    found: Model = {}
    base = os.fsencode(root)
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        for name in os.listdir(os.path.join(base, directory)):
            path = os.path.join(directory, name)
            place = os.path.join(base, path)
            status = os.lstat(place)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found[to_text(path)] = Link(to_text(os.readlink(place)))
            elif stat.S_ISDIR(status.st_mode):
                found[to_text(path)] = Directory(mode)
                waiting.append(path)
            else:
                with open(place, "rb") as file:
                    found[to_text(path)] = File(file.read(), mode)
    return found


def remove(root: Path) -> None:
    """Also what its owner may not write to."""
    if root.exists():
        subprocess.run(["chmod", "-R", "u+rwx", "--", str(root)], check=True)
        shutil.rmtree(root)


def told(steps: Iterable[Step]) -> list[str]:
    """Summarize a plan."""
    return [f"{step.action} {step.path}" for step in steps]


def changes(report: DirectoryReport) -> list[str]:
    """Summarize what a report says was done."""
    return [f"{entry.action} {entry.path}" for entry in report.entries if entry.action != "unchanged"]


# --- made up ---------------------------------------------------------------------------------------------------------

PATIENT = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.differing_executors,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
]
"""What is no fault of tests that put directories on disk."""

_STRANGE = (
    *(b"-rf", b"--", b"-", b" ", b"  x ", b"\n", b"a\nb\n", b"\r", b"\t", b"'", b'"', b"''\"", b"$(touch x)", b"`x`"),
    *(b"*", b"?", b"[a]", b"\\", b"\\n", b"a\\", b"#", b"~", b"!x", b"x -> y", b"...", b".x", b"%s", b"%n", b";", b"&"),
    *(b"\xff", b"\xe4\xb8", b"\x81", b"\x88", b"\xed\xa0\x80", b"\x7f", b"\x01", b"\x1b[31m", b"n" * 255),
    *("ä", "日本", "e\u0301", "\u202e", "😀"),
)
_NAMES = st.one_of(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([to_text(name if isinstance(name, bytes) else name.encode()) for name in _STRANGE]),
    st.binary(min_size=1, max_size=8).map(lambda name: to_text(name.translate(None, b"\0/")) or "empty"),
).filter(lambda name: name not in {".", ".."} and not name.startswith(".arker-"))
_FILES = st.builds(
    File,
    st.one_of(st.binary(max_size=40), st.integers(0, 70_000).map(lambda size: b"x" * size)),
    st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o400, 0o777, 0o640]),
)
_LINKS = st.builds(Link, st.one_of(_NAMES, st.sampled_from(["..", "../..", "/etc/passwd", "a/b", "-x", "./.", "a//b"])))
_DIRECTORIES = st.builds(Directory, st.sampled_from([0o755, 0o700, 0o555, 0o777, 0o500]))


@st.composite
def models(draw: st.DrawFn, *, most: int = 14) -> Model:
    """Return a strategy of directories with all difficult cases, neither deep nor large."""
    model: Model = {}
    directories = [""]
    for _ in range(draw(st.integers(0, most))):
        parent = draw(st.sampled_from(directories))
        path = f"{parent}/{draw(_NAMES)}" if parent else draw(_NAMES)
        if path in model:
            continue
        model[path] = draw(st.one_of(_FILES, _FILES, _DIRECTORIES, _LINKS))
        if isinstance(model[path], Directory) and path.count("/") < 4:
            directories.append(path)
    return model


SMALL: Final[Model] = {
    "a": File(b"1"),
    "d": Directory(),
    "d/b": File(b"22", 0o755),
    "d/empty": Directory(),
    "d/link": Link("../a"),
}


async def shell(vm: AsyncVM, command: str) -> str:
    return (await vm.run(command, check=True)).stdout_text


async def tree(vm: AsyncVM, place: str) -> set[str]:
    return set((await shell(vm, f"(cd {place} && find . ! -name .)")).split())
