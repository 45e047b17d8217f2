"""The list of a VM's directory: what the command writes, with whatever tools there are, and what is read from it."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from arker import BadReplyError
from arker._directories.entries import Cksum, Entry, Tree, size_ranges
from arker._directories.ignore import ignores_nothing
from arker._directories.local import digests, scan
from arker._directories.manifest import Places, can_hide, manifest_command, parse_manifest, places_of
from tests.directories.support import PATIENT, SHELLS, Directory, File, Link, Model, build, models, remove

HARD: Model = {
    "plain": File(b"1", 0o755),
    "-c": File(b""),
    "a b": Directory(0o700),
    "a b/-d": Directory(),
    "a b/new\nline": File(b"22", 0o600),
    "a b/'\"\\": File(b"1"),
    "a b/cr\r": File(b"1"),
    "a b/-d/\udcff\udcfe": File(b"333"),
    "hidden": Directory(),
    "hidden/in/it": File(b"1"),
    "link -> a": Link("tar\nget -> x\n"),
    "other": Link("-> plain"),
}
COMMON = ["sh", "find"]
TOOLS = {
    "sha256sum": [*COMMON, "stat", "readlink", "sha256sum"],
    "shasum": [*COMMON, "stat", "readlink", "shasum", "perl"],
    "openssl": [*COMMON, "stat", "readlink", "openssl"],
    "cksum": [*COMMON, "ls", "cksum"],
}


def listing(
    root: Path,
    sizes: Iterable[int],
    *,
    utilities: Path | None = None,
    hidden: Iterable[str] = (),
    shell: Sequence[str] = ("sh",),
    places: Places | None = None,
) -> Tree:
    command = manifest_command(str(root), size_ranges(sizes), hidden=list(hidden), places=places)
    only = {} if utilities is None else {"PATH": str(utilities)}
    done = subprocess.run([*shell, *command[1:]], capture_output=True, check=True, env={**os.environ, **only})
    assert done.stderr == b""
    return parse_manifest(done.stdout, everywhere=places is None)


def local(root: Path, *, tool: str | None = None) -> Tree:
    """Return the files that Python finds, with their digests."""
    tree = scan(str(root), ignores_nothing, lambda: None)
    if tool is None:
        return tree
    files = [path for path, entry in tree.entries.items() if entry.kind == "file"]
    made = digests(str(root), files, tool, lambda: None)
    return evolve(
        tree, digest=tool, entries={path: evolve(entry, digest=made.get(path)) for path, entry in tree.entries.items()}
    )


def utilities_in(directory: Path, tool: str) -> Path:
    """Make a directory that contains one set of tools and nothing else."""
    utilities = directory / "bin"
    utilities.mkdir()
    for name in TOOLS[tool]:
        found = shutil.which(name)
        if found is not None:  # then the VM has not got it either, and the next best is used
            (utilities / name).symlink_to(found)
    if tool in {"shasum", "openssl"} and shutil.which(tool) is None:
        (utilities / "cksum").symlink_to(shutil.which("cksum") or "")
    return utilities


@pytest.mark.parametrize("tool", TOOLS)
def test_every_set_of_tools_finds_the_same(tmp_path: Path, tool: str) -> None:
    build(tmp_path / "root", HARD)
    os.mkfifo(tmp_path / "root" / "fifo")
    tree = listing(tmp_path / "root", [0, 1, 2, 3], utilities=utilities_in(tmp_path, tool))
    assert tree.digest is not None
    # The shell of busybox has tools of its own, whatever there is.
    own = "busybox" in os.path.realpath(shutil.which("sh") or "")
    assert tree.digest == tool or shutil.which(tool) is None or own
    assert tree == local(tmp_path / "root", tool=tree.digest)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_finds_the_same(tmp_path: Path, shell: Sequence[str]) -> None:
    build(tmp_path, HARD)
    tree = listing(tmp_path, [0, 1, 2, 3], hidden=["hidden", "no.thing"], shell=shell)
    whole = local(tmp_path, tool=str(tree.digest)).entries
    assert tree.entries == {path: entry for path, entry in whole.items() if not path.startswith("hidden/")}


def test_digests_are_made_of_files_of_the_sizes_that_are_asked_for(tmp_path: Path) -> None:
    build(tmp_path, {f"f{size}": File(b"x" * size) for size in (0, 1, 5, 9, 1000)})
    tree = listing(tmp_path, [1, 1000])
    assert {path for path, entry in tree.entries.items() if entry.digest} == {"f1", "f1000"}
    assert tree.entries["f1"].digest == hashlib.sha256(b"x").hexdigest()
    assert not any(entry.digest for entry in listing(tmp_path, []).entries.values())


def test_the_content_of_hidden_directories_is_left_out(tmp_path: Path) -> None:
    build(tmp_path, HARD)
    tree = listing(tmp_path, [1], hidden=["hidden"])
    assert set(HARD) - {"hidden/in/it"} == set(tree.entries)
    assert tree.entries["plain"].digest is not None
    assert [name for name in (".git", "node_modules", "a b", "*", "-x", ".", "..", "") if can_hide(name)] == [
        ".git",
        "node_modules",
    ]


def test_what_is_no_directory(tmp_path: Path) -> None:
    build(tmp_path, {"file": File(), "directory": Directory(), "link": Link("directory"), "loose": Link("nowhere")})
    assert listing(tmp_path / "nothing", []).root == "absent"
    assert listing(tmp_path / "file", []).root == "other"
    assert listing(tmp_path / "loose", []).root == "other"
    assert listing(tmp_path / "link", []) == listing(tmp_path / "directory", [])


def test_nothing_is_run_that_a_name_says(tmp_path: Path) -> None:
    names = [
        "$(touch proof)",
        "`touch proof`",
        "; touch proof",
        "'; touch proof; '",
        "\n touch proof",
        "%s%n",
        "-delete",
    ]
    build(tmp_path / "it's", {name: File(b"1") for name in names})
    assert set(listing(tmp_path / "it's", [1]).entries) == set(names)
    assert set(os.listdir(tmp_path / "it's")) == set(names)
    assert os.listdir(tmp_path) == ["it's"]


@settings(max_examples=10, deadline=None, suppress_health_check=PATIENT)
@given(model=models())
def test_any_directory(tmp_path: Path, model: Model) -> None:
    root = tmp_path / "root"
    remove(root)
    build(root, model)
    sizes = [len(node.data) for node in model.values() if isinstance(node, File)]
    found = listing(root, sizes)
    assert found.entries == local(root, tool="sha256sum").entries
    remove(root)


# --- reading what a VM has written -----------------------------------------------------------------------------------

DIGEST = b"0" * 64


def written(
    listed: bytes = b"", *, links: bytes = b"", lines: bytes = b"", pairs: bytes = b"", unread: bytes = b""
) -> bytes:
    parts = [b"arker-tree 1\0directory\0sha256sum\0\0", b"41ed 5 .//\n", listed, b"\0\0", links, b"\0"]
    return b"".join([*parts, lines, b"\0\0", pairs, b"\0", unread, b"\0end\0"])


def test_a_list_is_read() -> None:
    output = written(
        b"41c0 0 ./d//\n81ed 3 ./d/f\n//\na1ff 1 ./l//\n-rw-r----- 7 ./g//\nprw------- 0 ./p//\nbrw-rw---- 8, ./b//\n",
        links=b"./l\0d/f\n\0",
        lines=DIGEST + b"  ./g\n" + b"no digest\n",
        pairs=b"./d/f\n\0" + DIGEST + b"  -\0",
        unread=b"./d\0",
    )
    tree = parse_manifest(output)
    assert tree == Tree(
        "directory",
        {
            "b": Entry("special", 0o660),
            "d": Entry("directory", 0o700),
            "d/f\n": Entry("file", 0o755, 3, digest="0" * 64),
            "g": Entry("file", 0o640, 7, digest="0" * 64),
            "l": Entry("symlink", target="d/f\n"),
            "p": Entry("special", 0o600),
        },
        unreadable={"d": "permission denied"},
        digest="sha256sum",
    )
    assert list(tree.entries) == ["b", "d", "d/f\n", "g", "l", "p"]


@pytest.mark.parametrize(
    "path", [b"../x", b"./../x", b"/etc/passwd", b"./a/../../x", b"x", b"./", b".//x", b"./.", b"./a/", b"", b"./a/./b"]
)
def test_paths_that_are_not_below_the_directory_are_refused(path: bytes) -> None:
    attempts = [
        written(b"81a4 1 " + path + b"//\n"),
        written(lines=DIGEST + b"  " + path + b"\n"),
    ]
    if path:
        attempts += [
            written(b"a1ff 1 ./l//\n", links=path + b"\0target\0"),
            written(pairs=path + b"\0" + DIGEST + b"\0"),
            written(unread=path + b"\0"),
        ]
    for output in attempts:
        if path == b"" and output == written(lines=DIGEST + b"  \n"):
            continue  # a line without a path is no digest of anything
        with pytest.raises(BadReplyError):
            parse_manifest(output)


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"hello",
        b"arker-tree 2\0absent\0end\0",
        b"arker-tree 1\0absent\0",
        b"arker-tree 1\0absent\0end\0more\0",
        b"arker-tree 1\0elsewhere\0end\0",
        b"arker-tree 1\0directory\0sha256sum\0\0\0\0\0\0\0\0\0end\0",
        written(b"81a4 1 ./a//\n81a4 1 ./a//\n"),
        written(b"81a4 1 ./a//\n81a4 1 ./a/b//\n"),
        written(b"a1ff 1 ./a//\n81a4 1 ./a/b//\n", links=b"./a\0/etc\0"),
        written(b"81a4 1 ./a/b//\n"),
        written(b"81a4 -1 ./a//\n"),
        written(b"81a4 1e3 ./a//\n"),
        written(b"81a4 99999999999999999999 ./a//\n"),
        written(b"zzz 1 ./a//\n"),
        written(b"81a4 1 ./a"),
        written(b"81a4\n//\n"),
        written()[:-5],
        written() + b"\0",
    ],
)
def test_other_output_is_a_bad_reply(output: bytes) -> None:
    with pytest.raises(BadReplyError):
        parse_manifest(output)


_PIECES = st.sampled_from(
    [
        b"\0",
        b"//\n",
        b"./a",
        b"./b",
        b"..",
        b"/",
        b"81a4 1 ",
        b"41ed 1 ",
        b"a1ff 1 ",
        b"end",
        DIGEST,
        b"  ",
        b".",
        b"\n",
    ]
)


@given(st.lists(st.one_of(_PIECES, st.binary(max_size=3)), max_size=30), st.integers(0, 200))
def test_no_output_gives_a_path_outside(pieces: list[bytes], cut: int) -> None:
    whole = written(b"41ed 1 ./a//\n81a4 1 ./a/x//\n")
    for output in (b"".join(pieces), whole[:cut] + b"".join(pieces) + whole[cut:]):
        try:
            tree = parse_manifest(output)
        except BadReplyError:
            continue
        for path in tree.entries:
            assert not {"", ".", ".."} & set(path.split("/"))


# --- digests and sizes -----------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_cksum_is_that_of_posix(pieces: list[bytes]) -> None:
    ours = Cksum()
    for piece in pieces:
        ours.update(piece)
    size, crc = sum(map(len, pieces)), 0
    for byte in b"".join(pieces) + size.to_bytes((size.bit_length() + 7) // 8, "little"):
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
            crc &= 0xFFFFFFFF
    assert ours.hexdigest() == str(crc ^ 0xFFFFFFFF)


@given(st.lists(st.integers(0, 500)), st.integers(1, 20))
def test_ranges_hold_every_size(sizes: list[int], limit: int) -> None:
    ranges = size_ranges(sizes, limit)
    assert len(ranges) <= limit
    assert all(any(least <= size <= most for least, most in ranges) for size in sizes)
    assert all(least in sizes and most in sizes for least, most in ranges)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    held = sum(most - least + 1 for least, most in ranges)
    if limit >= len(set(sizes)):
        assert held == len(set(sizes))


SOURCE: Model = {
    "a b": Directory(),
    "a b/new\nline": File(b"22"),
    "a b/absent": Directory(),
    "a b/absent/file": File(b"1"),
    "link -> a": Directory(),
    "link -> a/inside": File(b"1"),
    "hidden": File(b"1"),
    "plain": File(b"1"),
    "-c": Link("plain"),
}


@pytest.mark.parametrize("tools", TOOLS)
def test_only_what_matters_to_a_source_is_listed(tmp_path: Path, tools: str) -> None:
    build(tmp_path / "there", HARD)
    (tmp_path / "there" / "elsewhere").mkdir()
    (tmp_path / "there" / "link -> a").unlink()
    (tmp_path / "there" / "link -> a").symlink_to("elsewhere")
    (tmp_path / "there" / "elsewhere" / "inside").write_bytes(b"1")
    build(tmp_path / "here", SOURCE)
    source = scan(str(tmp_path / "here"), ignores_nothing, lambda: None)
    places = places_of(source)
    assert places is not None
    utilities = utilities_in(tmp_path, tools)
    tree = listing(tmp_path / "there", [0, 1, 2], utilities=utilities, places=places)
    whole = listing(tmp_path / "there", [0, 1, 2], utilities=utilities)
    # A directory in the place of a file is listed with what it holds; a symlink leads nowhere.
    wanted = {"-c", "a b", "a b/new\nline", "hidden", "hidden/in", "hidden/in/it", "link -> a", "plain"}
    assert dict(tree.entries) == {path: whole.entries[path] for path in wanted}


def test_a_source_with_very_many_names_is_looked_for_by_the_first_ones() -> None:
    names = {f"top/{'x' * 200}{number}": Entry("file", 0o644, 1) for number in range(1000)}
    assert places_of(Tree("directory", {"top": Entry("directory", 0o755), **names})) == Places((), ["top"])
    tops = {f"{'x' * 200}{number}": Entry("file", 0o644, 1) for number in range(1000)}
    assert places_of(Tree("directory", tops)) is None
    assert places_of(Tree("directory", {"\udcff": Entry("file", 0o644, 1)})) is None
