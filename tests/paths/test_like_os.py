"""Random operations on names of any bytes, in a VM and on this machine: the results, errors and files are the same.

Known differences, which the operations drawn here leave out, are listed in `docs/vm-files.md`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arker import AsyncVM
from tests.paths.local import Local, Remote, Step
from tests.support.length import times

pytestmark = pytest.mark.anyio

NAMES: Final = [
    *("a", "b", "-n", "ü", "a b", "'q\"", "$(x)`y`", "*", "?[a]", "\\n", ".hidden", "new\nline", "\r", " "),
    *("odd\udcff", "\udc80", "~", "--", "x" * 255, "#", "%s", "end\n", "\\"),
]
name = st.sampled_from(NAMES) | st.binary(min_size=1, max_size=20).filter(
    lambda data: b"/" not in data and b"\0" not in data and data not in (b".", b"..")
).map(os.fsdecode)  # fmt: skip
few = st.sampled_from(["a", "-n", "odd\udcff\n"])
path = few | few | st.lists(few, min_size=2, max_size=3).map("/".join)
mode = st.sampled_from([0o644, 0o600, 0o755, 0o700, 0o777, 0o4755])
content = st.binary(max_size=200) | st.sampled_from([b"", b"\0", b"line\n" * 3000, bytes(range(256))])
target = st.sampled_from(["a", "-n", "../a", "none", ".", "a/-n", "/none\udcff/x"])


def step(operation: str, *arguments: st.SearchStrategy[Any], **keywords: st.SearchStrategy[Any]) -> Any:
    return st.tuples(st.just(operation), st.tuples(*arguments), st.fixed_dictionaries(keywords))


STEPS: Final = st.one_of(
    step("mkdir", path),
    step("mkdir", path, parents=st.booleans(), exist_ok=st.booleans()),
    step("write_bytes", path, content),
    step("write_bytes", path, content, append=st.just(True)),
    step("read_bytes", path),
    step("remove", path, missing_ok=st.booleans()),
    step("rmdir", path),
    step("rmtree", path),
    step("rename", path, path),
    step("copy", path, path, recursive=st.booleans()),
    step("chmod", path, mode),
    step("symlink", target, path),
    step("readlink", path),
    step("touch", path, exist_ok=st.booleans()),
    step("listdir", path),
    step("exists", path),
    step("is_file", path),
    step("is_dir", path),
    step("stat", path, follow_symlinks=st.booleans()),
    step("walk", path),
)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    # The mask of the VM, which shows in the permissions of new files.
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


@settings(
    max_examples=times(400, suite=8),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
@example(steps=[("symlink", ("no", "a"), {}), ("mkdir", ("a/a",), {"parents": True, "exist_ok": False})])
@example(steps=[("symlink", ("no", "a"), {}), ("mkdir", ("a/b/c",), {"parents": True, "exist_ok": True})])
@example(steps=[("symlink", ("a", "a"), {}), ("mkdir", ("a/b/c",), {"parents": True, "exist_ok": True})])
@example(steps=[("mkdir", ("a",), {}), ("copy", ("a", "a"), {"recursive": False})])
@example(steps=[("mkdir", ("a",), {}), ("copy", ("a", "a"), {"recursive": True})])
@example(steps=[("write_bytes", ("b", b""), {}), ("rename", ("a", "b/a"), {})])
@example(steps=[("rename", ("a", "b/a"), {})])
@example(steps=[("symlink", ("b", "b"), {}), ("rename", ("a", "b/a"), {})])
@example(steps=[("write_bytes", ("b", b""), {}), ("rename", ("b/a", "c/a"), {})])
async def test_random_operations(vm: AsyncVM, here: Path, steps: list[Step]) -> None:
    local = Local(here / "root")
    remote = Remote(vm.files, "/tmp/root")
    shutil.rmtree(local.root, ignore_errors=True)
    local.root.mkdir()
    await vm.run("chmod -R u+rwx /tmp/root; rm -rf /tmp/root; mkdir /tmp/root")
    for number, each in enumerate([*steps, ("walk", (".",), {})]):
        if is_left_out(local, each):
            continue
        assert (number, each, await remote.do(each)) == (number, each, local.do(each))


def is_left_out(local: Local, step: Step) -> bool:
    """Return whether an operation is one whose result is known to differ."""
    operation, arguments, _ = step
    places = [os.path.join(local.root, each) for each in arguments if isinstance(each, str)]
    if operation == "copy":
        # A symlink in the target's place, and a directory copied into itself or over a link.
        return any(os.path.islink(place) for place in places)
    if operation == "rename":
        # Two names of one file.
        return os.path.islink(places[0]) and os.path.exists(places[0])
    return False


@settings(
    max_examples=times(300, suite=10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(names=st.lists(name, min_size=1, max_size=4, unique=True), data=content)
async def test_any_name(vm: AsyncVM, here: Path, names: list[str], data: bytes) -> None:
    local, files, root = here / "names", vm.files, "/tmp/names"
    shutil.rmtree(local, ignore_errors=True)
    local.mkdir()
    await vm.run(f"rm -rf {root}; mkdir {root}")
    for each in names:
        (local / each).write_bytes(data)
        await files.write_bytes(f"{root}/{each}", data)
        assert await files.read_bytes(f"{root}/{each}") == data
    assert sorted(await files.listdir(root)) == sorted(os.listdir(local))
    entries = [entry async for entry in files.scandir(root)]
    assert sorted(entry.name for entry in entries) == sorted(os.listdir(local))
    assert {entry.path for entry in entries} == {f"{root}/{each}" for each in names}
    assert all(entry.stat.size == len(data) and entry.is_file for entry in entries)
    assert sorted(await files.glob("*", root=root)) == sorted(f"{root}/{each}" for each in names)
