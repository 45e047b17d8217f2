"""The client on embedded backends of each generation: one program, whichever of them the server speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    NetworkPolicyAllow,
    NetworkPolicyBlocked,
    RunFailedError,
    UnsupportedOperationError,
)
from arker.emulator import Emulator
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["1", "0.5"])
def spoken(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Return a backend of one generation; that of the session speaks both."""
    with ForkedEmulator(generation=request.param) as emulator:
        yield emulator


@pytest.fixture
async def ar(spoken: Emulator) -> AsyncIterator[AsyncArker]:
    spoken.reset()
    async with AsyncArker(**spoken.client_options) as client:
        yield client


@pytest.fixture
async def vm(ar: AsyncArker) -> AsyncVM:
    return await ar.fork("ubuntu")


async def test_sizes_and_networks(ar: AsyncArker) -> None:
    vm = await ar.fork("ubuntu", vcpu_count=2, memory_mib=512, network=False)
    assert (vm.vcpu_count, vm.memory_mib) == (2, 512)
    assert (await vm.refresh()).network == NetworkPolicyBlocked()
    assert (await vm.resize(vcpu_count=3)).resized
    assert (await vm.refresh()).vcpu_count == 3
    child = await vm.fork(network={"type": "allow", "allow": ["example.com", "192.0.2.1"]})
    assert (await child.refresh()).network == NetworkPolicyAllow(("example.com", "192.0.2.1"))


async def test_mounts(ar: AsyncArker, vm: AsyncVM) -> None:
    filesystem = await ar.create_filesystem(name="shared")
    mount = await vm.create_mount(filesystem_id=filesystem.filesystem_id, path="/mnt/shared")
    assert [each.sync_id for each in await vm.list_syncs()] == [mount.mount_id]
    assert [each.path async for each in vm.iter_mounts()] == [mount.path]
    assert (await vm.delete_sync(mount.mount_id)).deleted
    assert len(await vm.list_mounts()) == 0


async def test_runs(vm: AsyncVM) -> None:
    assert (await vm.run("sleep 30", timeout=0.5)).state == "failed"
    run = await vm.start("echo going; exec sleep 60")
    async for line in run.lines():
        assert line.text == "going"
        break
    await run.signal("INT")
    assert (await run.wait()).exit_code == 130
    later = await vm.start("exec sleep 60")
    assert (await later.cancel()).cancelled
    assert (await later.wait()).state == "cancelled"


async def test_directories(vm: AsyncVM, spoken: Emulator, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    assert (await vm.upload_dir(tmp_path, "there")).digest is None
    (tmp_path / "b").write_text("c")
    report = await vm.upload_dir(tmp_path, "there")
    assert report.digest == ("manifest" if spoken.options.generation == "1" else "sha256sum")
    assert [(entry.path, entry.action) for entry in report.entries if entry.action != "unchanged"] == [("b", "update")]
    back = tmp_path / "back"
    await vm.download_dir("there", back)
    assert (back / "b").read_text() == "c"
    again = await vm.download_dir("there", back)
    assert {entry.action for entry in again.entries} == {"unchanged"}


async def test_a_command_that_has_run_into_its_time(vm: AsyncVM) -> None:
    for call in (
        vm.run("sleep 60", timeout=1),
        vm.run("sleep 60", timeout=1, env={"A": "1"}),
        vm.run("sleep 60", timeout=1, on_cancel="kill"),
    ):
        result = await call
        assert (result.state, result.timed_out) == ("failed", True)
        assert "timeout" in str(result.fail_reason)
    with pytest.raises(RunFailedError, match="timeout"):
        await vm.run("sleep 60", timeout=1, check=True)
    result = await vm.run("exit 3", timeout=60)
    assert (result.timed_out, result.fail_reason) == (False, None)


async def test_what_only_one_generation_has(ar: AsyncArker, vm: AsyncVM, spoken: Emulator) -> None:
    today = spoken.options.generation == "1"
    if today:
        assert [place.region for place in await ar.list_regions()] == ["us-west-2"]
        assert (await ar.whoami()).org_id == vm.owner_org_id
        assert (await vm.update(description="mine")).description == "mine"
        goldens = [golden.name async for golden in ar.iter_vms(org_id="ArkerHQ", public=True)]
        assert "ubuntu" in goldens
        result = await vm.run("echo soon; sleep 2", time_to_background=0)
        assert result.type == "background"
        assert (await vm.attach_run(result.run_id).wait()).stdout == b"soon\n"
        with pytest.raises(UnsupportedOperationError, match="hostname"):
            await vm.tunnel(8080).open()
        with pytest.raises(UnsupportedOperationError, match="resize"):
            await vm.run("true", vcpu_count=2)
        return
    async with vm.tunnel(8080) as tunnel:
        assert tunnel.port == 8080
    assert (await vm.run("true", vcpu_count=2)).exit_code == 0
    for call in (
        ar.list_regions(),
        ar.whoami(),
        vm.update(description="mine"),
        ar.list_vms(public=True),
        vm.run("true", time_to_background=0),
        ar.fork(image="ubuntu"),
    ):
        with pytest.raises(UnsupportedOperationError, match=r"generation 0\.5"):
            await call
