"""``arker cp``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arker._cli.copying import Side
from tests.command_line.support import Program


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("web:/tmp/x", Side("web", "/tmp/x")),
        ("web:", Side("web", "")),
        ("web:a:b", Side("web", "a:b")),
        ("./a:b", Side(None, "./a:b")),
        ("/a:b", Side(None, "/a:b")),
        ("file", Side(None, "file")),
        ("-", Side(None, "-")),
    ],
)
def test_which_side_is_a_vm(text: str, side: Side) -> None:
    assert Side.of(text) == side


def make_tree(root: Path) -> Path:
    tree = root / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "a.txt").write_text("one")
    (tree / "sub" / "b.bin").write_bytes(bytes(range(256)) * 100)
    (tree / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (tree / "sub" / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("a.txt")
    return tree


def contents(root: Path) -> dict[str, object]:
    """Return what is below a directory, with permissions and targets of links."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = (path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else None)
    return found


def test_directories_go_both_ways(arker_program: Program, web: str) -> None:
    tree = make_tree(arker_program.cwd)
    arker_program.good("cp", "tree", "web:/tmp/copy")
    arker_program.good("cp", "tree", "web:/tmp/copy")  # it is there, so this one goes into it
    arker_program.good("cp", "tree/.", "web:/tmp/copy")
    assert arker_program.good("run", "web", "--", "ls /tmp/copy").split() == ["a.txt", "link", "sub", "tree"]
    arker_program.good("cp", "web:/tmp/copy/tree", "back")
    assert contents(arker_program.cwd / "back") == contents(tree)
    arker_program.good("cp", "web:/tmp/copy/tree", "back")
    assert contents(arker_program.cwd / "back" / "tree") == contents(tree)


def test_a_directory_above_goes_into_the_target_and_not_beside_it(arker_program: Program, web: str) -> None:
    make_tree(arker_program.cwd)
    arker_program.good("run", "web", "--", "mkdir -p above/target above/kept")
    arker_program.good("cp", "--delete", "tree/sub/..", "web:above/target")
    assert arker_program.good("run", "web", "--", "ls above above/target").split() == [
        *("above:", "kept", "target"),
        *("above/target:", "a.txt", "link", "sub"),
    ]
    (arker_program.cwd / "here" / "into").mkdir(parents=True)
    (arker_program.cwd / "here" / "kept").write_text("kept")
    arker_program.good("cp", "--delete", "web:above/target/sub/../", "here/into")
    assert sorted(contents(arker_program.cwd / "here")) == sorted(
        ["into", "kept", *(f"into/{name}" for name in contents(arker_program.cwd / "tree"))]
    )


def test_options_of_directories(arker_program: Program, web: str) -> None:
    make_tree(arker_program.cwd)
    told = arker_program.good("cp", "--dry-run", "--ignore", "*.txt", "tree", "web:copy")
    assert "create    sub/b.bin" in told
    assert "a.txt" not in told.replace("-> a.txt", "")
    arker_program.good("cp", "tree", "web:copy")
    (arker_program.cwd / "tree" / "a.txt").unlink()
    (arker_program.cwd / "tree" / "link").unlink()
    arker_program.good("cp", "--delete", "tree/.", "web:copy")
    assert arker_program.good("run", "web", "--", "ls copy") == "sub\n"
    arker_program.good("run", "web", "--", "ln -s /etc/passwd copy/out")
    done = arker_program("cp", "web:copy", "skipped")
    assert (done.status, done.out) == (0, "")
    assert done.err.startswith("arker: skipped out: ")
    arker_program.good("cp", "--symlinks", "web:copy", "whole")
    assert os.readlink(arker_program.cwd / "whole" / "out") == "/etc/passwd"


def test_files_go_both_ways_and_into_directories(arker_program: Program, web: str) -> None:
    data = os.urandom(100_000)
    (arker_program.cwd / "f").write_bytes(data)
    (arker_program.cwd / "f").chmod(0o750)
    arker_program.good("cp", "f", "web:g")
    arker_program.good("cp", "f", "web:/tmp")
    arker_program.good("cp", "f", "web:new/directory/")
    arker_program.good("cp", "f", "web:")
    assert arker_program.good("run", "web", "--", "stat -c %a g; ls /tmp/f new/directory/f ~/f").split()[0] == "750"
    (arker_program.cwd / "d").mkdir()
    for source, target, place in (("g", "h", "h"), ("g", "d", "d/g"), ("/tmp/f", "d/", "d/f")):
        arker_program.good("cp", f"web:{source}", target)
        assert (arker_program.cwd / place).read_bytes() == data


def test_pipes(arker_program: Program, web: str) -> None:
    data = "\u00e4 line\n" * 1000
    arker_program.good("cp", "-", "web:piped", data=data.encode())
    assert arker_program.good("cp", "web:piped", "-") == data
    arker_program.good("cp", "-", "web:empty")
    assert arker_program.good("cp", "web:empty", "-") == ""
    with arker_program.forked("cp", "-", "web:streamed") as process:
        assert process.communicate(b"through a pipe", timeout=120) == (b"", b"")
        assert process.returncode == 0
    assert arker_program.good("cp", "web:streamed", "-") == "through a pipe"


def test_what_cannot_be_copied(arker_program: Program, web: str) -> None:
    make_tree(arker_program.cwd)
    assert "VM:PATH on one side" in arker_program.bad(2, "cp", "a", "b")
    assert "VM:PATH on one side" in arker_program.bad(2, "cp", "web:a", "web:b")
    assert "given by its id" in arker_program.bad(2, "cp", "tree", "a/b:x")
    assert "given by its id" not in arker_program.bad(2, "cp", "tree", "x")
    assert "No such file" in arker_program.bad(1, "cp", "nothing", "web:x")
    assert "No such file" in arker_program.bad(1, "cp", "web:nothing", "x")
    assert "No such file" in arker_program.bad(1, "cp", "web:nothing", "-")
    assert "not_found" in arker_program.bad(1, "cp", "tree", "nothing:x")
    assert "--delete is for directories" in arker_program.bad(2, "cp", "--delete", "tree/a.txt", "web:x")
    assert "--symlinks" in arker_program.bad(2, "cp", "--symlinks", "tree", "web:x")
    assert not (arker_program.cwd / "x").exists()
