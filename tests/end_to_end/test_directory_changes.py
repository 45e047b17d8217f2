"""Directories that change, and transfers that come too late: nothing elsewhere is touched, nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arker import AsyncArker, AsyncVM, DeadlineExceededError, Hooks, RequestEvent
from arker.emulator import Emulator
from arker_sync import Arker
from tests.directories.support import File, Model, build, look

pytestmark = pytest.mark.anyio


async def test_a_directory_of_the_vm_is_exchanged_during_the_upload(
    emulator: Emulator, vm: AsyncVM, tmp_path: Path
) -> None:
    """By a program in it: what is deleted, written and given permissions there is only in the directory itself."""
    await vm.run(
        "mkdir -p r/d/e outside/e; echo mine > outside/old; cp -p outside/old r/d; cp -p outside/old outside/e; ",
        check=True,
    )
    before = (await vm.run("cd outside && ls -lR --time-style=full-iso; cat old e/old", check=True)).stdout
    await vm.run("cd", check=True)
    exchange = "ls -d ~/r/.arker-* && mv ~/r/d ~/away && ln -s ../outside ~/r/d"

    def told(event: RequestEvent) -> None:
        # Once something has been uploaded beside the directory: the upload's last command puts it into place.
        if event.operation == "vm.sync" and not any(exchanged):
            with Arker(**emulator.client_options) as other:
                exchanged.append(other.vm(vm.id).run(exchange).exit_code == 0)

    exchanged: list[bool] = []
    local = build(tmp_path / "local", {"d/new": File(b"x"), "d/e/new": File(b"x", 0o777), "f": File(b"x")})
    async with AsyncArker(**emulator.client_options, hooks=Hooks(on_request=told)) as client:
        done = await client.vm(vm.id).upload_dir(local, "r", delete=True)
    assert any(exchanged)
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
