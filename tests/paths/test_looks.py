"""Looking around: lists of any length, patterns, found lines, changes as they happen; and the blocking twin."""

from __future__ import annotations

import asyncio
import errno

import pytest

from arker import AsyncVM, FileEvent, InvalidArgumentError, RemotePathError, RunFailedError
from arker._lifecycle.own_sessions import own_sessions
from arker_sync import Arker
from tests.support.forked import fork_backends
from tests.support.length import times

pytestmark = pytest.mark.anyio

MANY = times(100_000, suite=8_000)


async def test_a_long_directory(vm: AsyncVM) -> None:
    await vm.run(
        f"mkdir /tmp/big; cd /tmp/big; seq -f 'file-%.0f of a number that is large' {MANY} | xargs -d '\\n' touch"
    )
    names: set[str] = set()
    async for entry in vm.files.scandir("/tmp/big"):
        assert entry.is_file
        names.add(entry.name)
    assert len(names) == MANY
    assert set(await vm.files.listdir("/tmp/big")) == names
    # What is given up in the middle leaves nothing behind.
    async for _ in vm.files.scandir("/tmp/big"):
        break
    assert await vm.files.listdir("/tmp") == ["big"]


async def test_a_tree(vm: AsyncVM) -> None:
    await vm.run("mkdir -p /tmp/t/a/b /tmp/t/c; cd /tmp/t; touch 1 a/2 a/b/3; ln -s a link; ln -s x broken")
    found = {at: (sorted(below), sorted(rest)) async for at, below, rest in vm.files.walk("/tmp/t")}
    assert found == {
        "/tmp/t": (["a", "c", "link"], ["1", "broken"]),
        "/tmp/t/a": (["b"], ["2"]),
        "/tmp/t/a/b": ([], ["3"]),
        "/tmp/t/c": ([], []),
    }
    seen: list[str] = []
    async for at, below, _ in vm.files.walk("/tmp/t"):
        seen.append(at)
        below[:] = [each for each in below if each != "a"]
    assert seen == ["/tmp/t", "/tmp/t/c"]
    deep = {entry.path: entry async for entry in vm.files.scandir("/tmp/t", recursive=True)}
    assert len(deep) == 8
    link = deep["/tmp/t/link"]
    assert (link.kind, link.is_symlink, link.stat.target, link.stat.target_kind) == ("symlink", True, "a", "directory")
    assert (deep["/tmp/t/broken"].stat.target, deep["/tmp/t/broken"].stat.target_kind) == ("x", None)
    # Relative paths begin at the home directory, and stay as they were given.
    await vm.files.write_text("sub/file", "x", parents=True)
    assert [entry.path async for entry in vm.files.scandir("sub")] == ["sub/file"]
    assert [entry.path async for entry in vm.files.scandir()] == ["./sub"]
    assert await vm.files.listdir() == ["sub"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["a", "c", "dir.txt", "link", "top.py"]),
        ("*.py", ["top.py"]),
        ("?.py", []),
        ("[a-c]", ["a", "c"]),
        ("[!a]", ["c"]),
        ("*/*.py", ["a/x.py", "link/x.py"]),
        ("**/*.py", ["a/b/y.py", "a/x.py", "top.py"]),
        ("a/**", ["a/.hidden", "a/b", "a/b/y.py", "a/x.py"]),
        ("a/*", ["a/.hidden", "a/b", "a/x.py"]),
        ("*/", ["a", "c", "dir.txt", "link"]),
        ("a/x.py", ["a/x.py"]),
        ("a/none", []),
        ("none/*", []),
        ("top.py/*", []),
    ],
)
async def test_patterns(vm: AsyncVM, pattern: str, found: list[str]) -> None:
    await vm.run(
        "mkdir -p /tmp/g/a/b /tmp/g/c /tmp/g/dir.txt; cd /tmp/g; touch top.py a/x.py a/b/y.py a/.hidden; ln -s a link"
    )
    assert await vm.files.glob(pattern, root="/tmp/g") == [f"/tmp/g/{path}" for path in found]
    assert await vm.files.glob(f"/tmp/g/{pattern}") == [f"/tmp/g/{path}" for path in found]


async def test_found_lines(vm: AsyncVM) -> None:
    files = vm.files
    await files.write_text("/tmp/g/one", "TODO: a\nnothing\n  fixme: b\n", parents=True)
    await files.write_bytes("/tmp/g/new\nline:3:x", b"TODO \xff\n")
    await files.write_bytes("/tmp/g/binary", b"TODO\0\n")
    for tools in (await _tools(vm), frozenset[str]()):
        own_sessions(vm._place).tools = tools  # pyright: ignore[reportPrivateUsage]
        found = [(match.path, match.line_number, match.line) async for match in files.grep("TODO|FIXME", "/tmp/g")]
        text = [each for each in found if each[0] != "/tmp/g/binary"]
        assert sorted(text) == [("/tmp/g/new\nline:3:x", 1, "TODO \ufffd"), ("/tmp/g/one", 1, "TODO: a")]
        found = [
            (match.path, match.line_number, match.line)
            async for match in files.grep("fixME:", "/tmp/g/one", ignore_case=True, fixed=True)
        ]
        assert found == [("/tmp/g/one", 3, "  fixme: b")]
    own_sessions(vm._place).tools = None  # pyright: ignore[reportPrivateUsage]
    await files.write_text("/tmp/g/letters", "É日本\n")
    for pattern, ignore_case in (("^é..$", True), ("^É..$", False), ("[ÈÉ]日", False)):
        matches = [match async for match in files.grep(pattern, "/tmp/g", ignore_case=ignore_case)]
        assert [match.path for match in matches] == ["/tmp/g/letters"]
    assert [match async for match in files.grep("nothing like that", "/tmp/g/binary")] == []
    with pytest.raises(InvalidArgumentError, match="grep accepts"):
        await files.grep("(", "/tmp/g").__anext__()
    with pytest.raises(FileNotFoundError):
        await files.grep("x", "/tmp/none").__anext__()
    assert await files.listdir("/tmp") == ["g"]


async def _tools(vm: AsyncVM) -> frozenset[str]:
    await vm.files.stat("/tmp")
    tools = own_sessions(vm._place).tools  # pyright: ignore[reportPrivateUsage]
    assert tools is not None
    return tools


@pytest.mark.parametrize("method", ["inotify", "polling"])
async def test_changes_as_they_happen(vm: AsyncVM, method: str) -> None:
    await vm.files.mkdir("/tmp/w/old", parents=True)
    tools = await _tools(vm)
    assert "python3" in tools
    if method == "polling":
        own_sessions(vm._place).tools = tools - {"python3"}  # pyright: ignore[reportPrivateUsage]
    async with vm.files.watch("/tmp/w", recursive=True, interval=0.2) as changes:
        assert (changes.method, changes.path) == (method, "/tmp/w")
        found: list[tuple[str, str, bool]] = []

        async def until(kind: str, path: str) -> None:
            async for event in changes:
                assert isinstance(event, FileEvent)
                assert event.method == method
                found.append((event.kind, event.path, event.is_dir))
                if (event.kind, event.path) == (kind, path):
                    return

        # Files that are written under another name first.
        await vm.files.write_bytes("/tmp/w/old/large", bytes(1_000_000), parents=True)
        await vm.upload(bytes(3_000_000), "/tmp/w/parts", strategy="parts", part_size=1_000_000)
        await vm.run("cd /tmp/w; mkdir new; echo 1 > new/in; echo 2 > old/in")
        await asyncio.wait_for(until("created", "/tmp/w/old/in"), 60)
        await vm.run("sleep 0.1; echo 3 >> /tmp/w/old/in")
        await asyncio.wait_for(until("modified", "/tmp/w/old/in"), 60)
        await vm.run("rm /tmp/w/old/in")
        await asyncio.wait_for(until("deleted", "/tmp/w/old/in"), 60)
        assert ("created", "/tmp/w/new", True) in found
        assert {path for _, path, _ in found if "large" in path or "parts" in path or "/." in path} == {
            "/tmp/w/old/large",
            "/tmp/w/parts",
        }
        assert ("created", "/tmp/w/new/in", False) in found
        await vm.run("rm -r /tmp/w")
        await asyncio.wait_for(_end(changes), 60)
    assert len((await vm.list_sessions()).sessions) <= 3
    with pytest.raises(FileNotFoundError):
        async with vm.files.watch("/tmp/w"):
            pass


async def _end(changes: object) -> None:
    async for _ in changes:  # type: ignore[attr-defined]
        pass


async def test_what_is_no_symlink_has_no_target(vm: AsyncVM) -> None:
    with pytest.raises(RemotePathError) as caught:
        await vm.files.readlink("/tmp")
    assert caught.value.errno == errno.EINVAL


def test_the_blocking_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_backends(monkeypatch)
    with Arker.local() as ar, ar.fork("ubuntu") as vm:
        files = vm.files
        files.write_text("/tmp/a/x", "one\ntwo\n", parents=True)
        assert files.stat("/tmp/a/x").size == 8
        assert [entry.path for entry in files.scandir("/tmp/a")] == ["/tmp/a/x"]
        assert list(files.walk("/tmp/a")) == [("/tmp/a", [], ["x"])]
        assert [match.line for match in files.grep("tw", "/tmp/a")] == ["two"]
        with files.open("/tmp/a/x") as file:
            assert list(file) == ["one\n", "two\n"]
        with files.open("/tmp/a/y", "wb") as written:
            written.write(b"x")
        with files.watch("/tmp/a", interval=0.2) as changes:
            files.remove("/tmp/a/y")
            assert next(iter(changes)).kind == "deleted"
        with pytest.raises(FileNotFoundError) as caught:
            files.remove("/tmp/a/y")
        assert caught.value.filename == "/tmp/a/y"


async def test_files_without_a_name_are_no_changes(vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/w")
    async with vm.files.watch("/tmp/w") as changes:
        await vm.files.write_text("/tmp/w/#1", "written while it has no name")
        await vm.files.write_text("/tmp/w/#1", "has a name", append=True)
        await vm.files.mkdir("/tmp/w/last")
        paths: list[str] = []
        async for event in changes:
            paths.append(event.path)
            if event.path == "/tmp/w/last":
                break
    # The server may write to a file of another name first.
    assert {path for path in paths if "#" in path} == {"/tmp/w/#1"}


async def test_a_watch_whose_program_is_killed_says_so(vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/w")
    async with vm.files.watch("/tmp/w") as changes:
        assert changes.method == "inotify"
        await vm.run("kill -9 -1")
        for _ in range(2):
            with pytest.raises(RunFailedError, match="what watched the directory in the VM has ended") as caught:
                await changes.__anext__()
            assert caught.value.operation == "vm.files.watch"
