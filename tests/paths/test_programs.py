"""The programs on paths with every tool that they can use, in every shell that there is, on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arker import FileStat
from arker._files.refusals import path_command
from arker._paths import changes, listing, status
from arker._paths.records import MisprintError, parse_found, parse_line
from arker._paths.shell import LINK

SHELLS = [name for name in ("dash", "bash", "busybox", "ksh", "mksh") if shutil.which(name)]
TOOLS = ["find", "stat", "ls"]
TIMES = ("atime_ns", "mtime_ns", "ctime_ns")


def run(shell: str, command: list[str]) -> subprocess.CompletedProcess[bytes]:
    words = ["busybox", "sh"] if shell == "busybox" else [shell]
    return subprocess.run([*words, *command[1:]], capture_output=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "ro|ot\n"
    root.mkdir()
    (root / "file|x\n").write_bytes(b"12345")
    (root / "file|x\n").chmod(0o4751)
    os.utime(root / "file|x\n", ns=(1_234_567_890_123_456_789, 987_654_321_000_000_001))
    (root / "dir").mkdir(mode=0o1777)
    (root / ".hidden").symlink_to("dir")
    (root / "broken").symlink_to("no\nwhere")
    (root / "dir" / os.fsdecode(b"odd\xff")).write_bytes(b"x")
    os.mkfifo(root / "fifo")
    return root


def expected(path: Path, tool: str, *, follow: bool = False) -> dict[str, Any]:
    real = path.stat() if follow else path.lstat()
    facts: dict[str, Any] = {"size": real.st_size, "mode": real.st_mode & 0o7777, "uid": real.st_uid}
    facts |= {"gid": real.st_gid, "links": real.st_nlink}
    if tool == "ls":
        return facts | dict.fromkeys(("inode", *TIMES))
    return facts | {"inode": real.st_ino} | {name: getattr(real, f"st_{name}") for name in TIMES}


def shown(found: FileStat, facts: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(found, name) for name in facts}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("tool", TOOLS)
def test_the_status_of_paths(tree: Path, shell: str, tool: str) -> None:
    for path in [*tree.iterdir(), *tree.joinpath("dir").iterdir(), tree]:
        for follow in (False, True):
            command = path_command(status.STAT, [tool, "follow" if follow else "", os.fspath(path)])
            done = run(shell, command)
            if follow and path.name == "broken":
                assert (done.returncode, done.stderr) == (120, b"ENOENT 1\n")
                continue
            assert done.returncode == 0, done.stderr
            found = status.parsed(tool, done.stdout, links=not follow)
            facts = expected(path, tool, follow=follow)
            assert shown(found, facts) == facts
            is_link = path.is_symlink() and not follow
            assert found.kind == ("symlink" if is_link else _kind(path))
            assert found.target == (os.readlink(path) if is_link else None)
            assert found.target_kind == ("directory" if is_link and path.name == ".hidden" else None)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("tool", TOOLS)
def test_the_status_of_several_paths(tree: Path, shell: str, tool: str) -> None:
    (tree / "link|").symlink_to("file|x\n")
    paths = [*tree.iterdir(), *tree.joinpath("dir").iterdir(), tree / "missing"]
    done = run(shell, path_command(status.STATS, [tool, *map(os.fspath, paths)]))
    assert (done.returncode, done.stderr) == (0, b"")
    found = status.parsed_several(tool, done.stdout)
    assert found.keys() == {os.fspath(path) for path in paths if path.exists()}
    for name, entry in found.items():
        facts = expected(Path(name), tool, follow=True)
        assert shown(entry, facts) == facts
        assert entry.kind == _kind(Path(name))


def _kind(path: Path) -> str:
    return "directory" if path.is_dir() else "fifo" if path.is_fifo() else "file"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("deep", [False, True])
def test_the_list_of_a_directory(tree: Path, tmp_path: Path, shell: str, tool: str, deep: bool) -> None:
    words = [tool, "1000000" if deep else "1", os.fspath(tree), os.fspath(tmp_path / "more"), "", LINK]
    done = run(shell, path_command(listing.LIST, words))
    assert (done.returncode, done.stderr) == (0, b"")
    parser = listing.parser_of(tool, os.fspath(tree), links=True)
    found = dict([*parser.feed(done.stdout), *parser.end()])
    paths = [*tree.rglob("*")] if deep else [*tree.iterdir()]
    assert found.keys() == {os.path.relpath(path, tree) for path in paths}
    for path in paths:
        facts = expected(path, tool)
        entry = found[os.path.relpath(path, tree)]
        # Listing a directory may set the time of its last access.
        facts.pop("atime_ns")
        assert shown(entry, facts) == facts
        assert entry.target == (os.readlink(path) if path.is_symlink() else None)


@pytest.mark.parametrize("tool", ["find", "stat"])  # ls takes a process for each file
def test_a_long_list_goes_on_in_a_file(tmp_path: Path, tool: str) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(6000):
        (root / f"a rather long name of a file, of which there are many: {number}").touch()
    more = tmp_path / "more"
    done = run("sh", path_command(listing.LIST, [tool, "1", os.fspath(root), os.fspath(more), "", LINK]))
    assert (done.returncode, done.stderr) == (0, b"more\n")
    parser = listing.parser_of(tool, os.fspath(root), links=True)
    found = [*parser.feed(done.stdout), *parser.feed(more.read_bytes()), *parser.end()]
    assert len(found) == 6000


FULL = r"""#!/bin/sh
# A disk without room: cp makes the file, writes a part of it, and says so. In the place of a file it would do the same.
for target; do :; done
printf part >"$target"
printf "cp: error writing '%s': No space left on device\n" "$target" >&2
exit 1
"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("before", [None, "before"], ids=["new", "existing"])
def test_a_copy_for_which_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, before: str | None
) -> None:
    tools, place = tmp_path / "tools", tmp_path / "d"
    for directory in (tools, place):
        directory.mkdir()
    (tools / "cp").write_text(FULL)
    (tools / "cp").chmod(0o755)
    (tmp_path / "source").write_text("content")
    if before is not None:
        (place / "file").write_text(before)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    words = [os.fspath(tmp_path / "source"), os.fspath(place / "file"), "", os.fspath(place / ".arker-x")]
    done = run(shell, path_command(changes.COPY, words))
    assert (done.returncode, done.stderr) == (120, b"ENOSPC 2\n")
    assert {path.name: path.read_text() for path in place.iterdir()} == ({} if before is None else {"file": before})


@pytest.mark.parametrize(
    "text",
    [b"", b"f 644 1", b"f 644 x 0 0 1 2 0.0 0.0 0.0 f", b"f 9 1 0 0 1 2 0 0 0 f", b"f 644 1 0 0 1 2 now 0 0 f"],
)
def test_what_no_tool_prints_is_refused(text: bytes) -> None:
    with pytest.raises(MisprintError):
        parse_found(text, b"")
    with pytest.raises(MisprintError):
        parse_line(text, b"", b"")
