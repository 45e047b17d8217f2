"""Directories that change, and transfers that come too late: nothing elsewhere is touched, nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arker import AsyncVM, DeadlineExceededError
from tests.directories.support import File, Model, build, look

pytestmark = pytest.mark.anyio


async def test_a_directory_of_the_vm_is_exchanged_during_the_upload(vm: AsyncVM, tmp_path: Path) -> None:
    """By a program in it: what is deleted, written and given permissions there is only in the directory itself."""
    await vm.run(
        "mkdir -p r/d/e outside/e; echo mine > outside/old; cp -p outside/old r/d; cp -p outside/old outside/e; ",
        check=True,
    )
    before = (await vm.run("cd outside && ls -lR --time-style=full-iso; cat old e/old", check=True)).stdout
    await vm.run("cd", check=True)
    watch = "while ! ls -d r/.arker-*; do :; done; mv r/d away; ln -s ../outside r/d"
    exchange = await vm.create_session()
    await vm.run(f"({watch}) > /dev/null 2>&1", background=True, session_id=exchange.session_id)
    local = build(tmp_path / "local", {"d/new": File(b"x"), "d/e/new": File(b"x", 0o777), "f": File(b"x")})
    done = await vm.upload_dir(local, "r", delete=True)
    assert {failure.path for failure in done.failures} == {"r/d/new", "r/d/old", "r/d/e/new"}
    after = (await vm.run("cd outside && ls -lR --time-style=full-iso; cat old e/old", check=True)).stdout
    assert after == before
    assert await vm.sync("/home/user/r/f") == b"x"


async def test_a_deadline(vm: AsyncVM, tmp_path: Path) -> None:
    model: Model = {f"d/f{number}": File(os.urandom(100)) for number in range(300)}
    local = build(tmp_path / "local", model)

    for deadline in (0.001, 0.1):
        late: list[str | None] = []
        try:
            await vm.upload_dir(local, "r", deadline=deadline)
        except DeadlineExceededError as error:
            late.append(error.operation)
        assert late in ([], ["vm.upload_dir"])
        assert late or deadline > 0.001
        left = await vm.run("find . -name '.arker-*'", check=True)
        assert left.stdout == b""
    assert (await vm.upload_dir(local, "r")).failures == ()
    with pytest.raises(DeadlineExceededError):
        await vm.download_dir("r", tmp_path / "back", deadline=0.001)
    assert not (tmp_path / "back").exists() or not look(tmp_path / "back")
