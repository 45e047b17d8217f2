"""What is written on this machine: never outside of the directory, by descriptors and without."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from arker._directories.apply import apply_steps
from arker._directories.entries import Entry, to_bytes
from arker._directories.ignore import ignores_nothing
from arker._directories.local import digests, local_path, scan
from arker._directories.plan import Step, make_plan
from arker._directories.target import BY_DESCRIPTOR, TreeTarget
from arker._tasks.threads import StoppedError
from tests.directories.support import PATIENT, Directory, File, Link, Model, build, look, models, remove
from tests.support.waiting import block_until

STAGING = ".arker-01ARZ3NDEKTSV4RRFFQ69G5FAV"
WAYS = [True, False]


def test_this_system_works_by_descriptors() -> None:
    assert BY_DESCRIPTOR


@pytest.fixture(params=WAYS, ids=["by descriptor", "by path"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TreeTarget]:
    (tmp_path / "root").mkdir()
    target = TreeTarget(str(tmp_path / "root"), by_descriptor=request.param)
    yield target
    target.close()


def carry_out(source: Path, root: Path, *, by_descriptor: bool, fail: tuple[str, ...] = ()) -> dict[str, OSError]:
    """Run a download without a VM."""
    trees = [scan(str(place), ignores_nothing, lambda: None) for place in (source, root)]
    steps = make_plan(*trees, delete=True)
    target = TreeTarget(str(root), by_descriptor=by_descriptor)
    try:
        place = target.make_staging(STAGING)
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o700
        staged = stage(steps, source, place, fail)
        return apply_steps(target, steps, staged, STAGING, lambda: None)
    finally:
        target.remove_staging(STAGING)
        target.close()
        assert not os.path.lexists(root / STAGING)


def stage(steps: list[Step], source: Path, place: str, fail: tuple[str, ...]) -> dict[str, str]:
    staged: dict[str, str] = {}
    for number, step in enumerate(steps):
        if step.action in {"create", "update"} and step.path not in fail:
            with open(os.path.join(os.fsencode(source), to_bytes(step.path)), "rb") as file:
                Path(place, str(number)).write_bytes(file.read())
            staged[step.path] = f"{STAGING}/{number}"
    return staged


@pytest.mark.parametrize("by_descriptor", WAYS)
@settings(max_examples=15, deadline=None, suppress_health_check=PATIENT)
@given(first=models(), second=models())
def test_any_directory_becomes_any_other(tmp_path: Path, by_descriptor: bool, first: Model, second: Model) -> None:
    source, root = tmp_path / "source", tmp_path / "root"
    for place, model in ((source, first), (root, second)):
        remove(place)
        build(place, model)
    before = len(os.listdir("/proc/self/fd"))
    assert carry_out(source, root, by_descriptor=by_descriptor) == {}
    # Fewer, where something of another test's was closed meanwhile.
    block_until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert look(root) == first
    remove(root)


@pytest.mark.parametrize("by_descriptor", WAYS)
def test_what_was_not_downloaded_is_not_touched(tmp_path: Path, by_descriptor: bool) -> None:
    source = build(tmp_path / "source", {"a": File(b"new"), "b": File(b"new"), "d": File(b"new")})
    root = build(tmp_path / "root", {"a": File(b"older"), "d": Directory(0o500)})
    assert carry_out(source, root, by_descriptor=by_descriptor, fail=("a", "d")) == {}
    assert look(root) == {"a": File(b"older"), "b": File(b"new"), "d": Directory(0o500)}


# --- symlinks in the way ---------------------------------------------------------------------------------------------


def attempts(target: TreeTarget, path: str) -> Iterator[OSError | None]:
    """Everything that can be done to a path."""
    actions: list[Callable[[], None]] = [
        lambda: target.make_directory(path),
        lambda: target.symlink("x", path, f"{STAGING}/{path.count('/')}"),
        lambda: target.chmod(path, 0o777),
        lambda: target.remove(path),
        lambda: target.remove_directory(path),
        lambda: target.put(f"{STAGING}/file", path, 0o777),
    ]
    for action in actions:
        with open(local_path(str(target.root), f"{STAGING}/file"), "w"):
            pass
        try:
            action()
        except OSError as error:
            yield error
        else:
            yield None


@pytest.mark.parametrize("inner", ["file", "directory", "empty", "new"])
def test_nothing_is_done_through_a_symlink(target: TreeTarget, tmp_path: Path, inner: str) -> None:
    outside = build(tmp_path / "outside", {"file": File(b"mine", 0o600), "directory/x": File(), "empty": Directory()})
    before = look(outside)
    (tmp_path / "root" / "link").symlink_to(outside)
    (tmp_path / "root" / "d").mkdir()
    (tmp_path / "root" / "d" / "link").symlink_to("../link")
    target.make_staging(STAGING)
    for beginning in ("link", "d/link"):
        for error in attempts(target, f"{beginning}/{inner}"):
            assert error is not None
            assert error.errno in {errno.ENOTDIR, errno.ELOOP}
    assert look(outside) == before


def test_a_symlink_is_acted_upon_itself(target: TreeTarget, tmp_path: Path) -> None:
    outside = build(tmp_path / "outside", {"file": File(b"mine", 0o600)})
    place = Path(target.make_staging(STAGING))
    (place / "file").write_bytes(b"new")
    (tmp_path / "root" / "a").symlink_to(outside / "file")
    with pytest.raises(OSError):
        target.chmod("a", 0o777)
    target.put(f"{STAGING}/file", "a", 0o640)
    (tmp_path / "root" / "b").symlink_to(outside / "file")
    target.symlink("elsewhere", "b", f"{STAGING}/link")
    (tmp_path / "root" / "c").symlink_to(outside)
    target.remove("c")
    target.remove_staging(STAGING)
    assert look(tmp_path / "root") == {"a": File(b"new", 0o640), "b": Link("elsewhere")}
    assert look(outside) == {"file": File(b"mine", 0o600)}


def test_a_directory_that_is_exchanged_while_it_is_open(tmp_path: Path) -> None:
    """It is the directory that was entered, under whatever name it goes now."""
    outside = build(tmp_path / "outside", {"x": File(b"mine")})
    root = build(tmp_path / "root", {"d/old": File()})
    target = TreeTarget(str(root))
    target.remove("d/old")
    (root / "d").rename(tmp_path / "moved")
    (root / "d").symlink_to(outside)
    target.make_directory("d/new")
    target.close()
    assert look(tmp_path / "moved") == {"new": Directory()}
    assert look(outside) == {"x": File(b"mine")}


def test_permissions_are_given_back(target: TreeTarget, tmp_path: Path) -> None:
    root = build(
        tmp_path / "root", {"a": Directory(0o555), "a/b": Directory(0o500), "a/b/c": File(), "a/d": Directory()}
    )
    target.remove("a/b/c")
    target.chmod("a/d", 0o700)
    target.close()
    assert look(root) == {"a": Directory(0o555), "a/b": Directory(0o500), "a/d": Directory(0o700)}


def test_below_what_failed_nothing_is_tried(tmp_path: Path) -> None:
    root = build(tmp_path / "root", {"a": File()})
    target = TreeTarget(str(root))
    entry = Entry("directory", 0o755)
    steps = [Step("mkdir", "a", entry), Step("mkdir", "a/b", entry), Step("mkdir", "c", entry)]
    failed = apply_steps(target, steps, {}, STAGING, lambda: None)
    target.close()
    assert list(failed) == ["a"]
    assert look(root) == {"a": File(), "c": Directory()}


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_scan_stops_when_it_is_told_to(tmp_path: Path) -> None:
    build(tmp_path, {f"{number}": File() for number in range(20)})
    seen = 0

    def check() -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        scan(str(tmp_path), ignores_nothing, check)


def test_roots(tmp_path: Path) -> None:
    build(tmp_path, {"file": File(), "directory/x": File(), "link": Link("directory"), "loose": Link("nowhere")})
    states = {name: scan(str(tmp_path / name), ignores_nothing, lambda: None).root for name in os.listdir(tmp_path)}
    assert states == {"file": "other", "directory": "directory", "link": "directory", "loose": "other"}
    assert scan(str(tmp_path / "nothing"), ignores_nothing, lambda: None).root == "absent"


def test_what_is_special_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    tree = scan(str(tmp_path), ignores_nothing, lambda: None)
    assert tree.entries["fifo"].kind == "special"
    assert digests(str(tmp_path), ["fifo", "link", "nothing"], "sha256sum", lambda: None) == {}


# --- filesystems in the directory ------------------------------------------------------------------------------------


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each directory be a filesystem of its own."""
    rename = os.rename

    def refuse(source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        ways = [(source, src_dir_fd), (target, dst_dir_fd)]
        above = [os.fstat(fd) if fd is not None else os.stat(os.path.dirname(path)) for path, fd in ways]
        if not os.path.samestat(*above):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", refuse)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("by_descriptor", WAYS)
def test_files_go_to_another_filesystem(tmp_path: Path, by_descriptor: bool) -> None:
    model: Model = {"d/new": File(b"1" * 3_000_000, 0o400), "d/old": File(b"2", 0o604), "d/link": Link("new")}
    source = build(tmp_path / "source", {**model, "top": File(b"3")})
    root = build(tmp_path / "root", {"d/old": File(b"old"), "d/link": Link("old")})
    before = len(os.listdir("/proc/self/fd"))
    assert carry_out(source, root, by_descriptor=by_descriptor) == {}
    block_until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert look(root) == look(source)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("by_descriptor", WAYS)
def test_what_cannot_go_to_another_filesystem_leaves_what_was_there(
    tmp_path: Path, by_descriptor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = build(tmp_path / "source", {"d/a": File(b"newest"), "d/b": File(b"new")})
    root = build(tmp_path / "root", {"d/a": File(b"old!"), "d/b": File(b"old!")})
    copy = shutil.copyfileobj

    def full(source: Any, target: Any, length: int) -> None:
        target.write(b"n")
        if os.fstat(source.fileno()).st_size == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        target.seek(0)
        copy(source, target, length)

    monkeypatch.setattr(shutil, "copyfileobj", full)
    problems = carry_out(source, root, by_descriptor=by_descriptor)
    assert {path: problem.errno for path, problem in problems.items()} == {"d/a": errno.ENOSPC}
    assert (root / "d" / "a").read_bytes() == b"old!"
    assert sorted(os.listdir(root / "d")) == ["a", "b"]
