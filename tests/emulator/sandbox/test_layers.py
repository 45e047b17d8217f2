"""Forks of VMs with many files: the files are shared, and each VM goes its own way."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path, PurePath

import pytest

from arker.emulator.sandbox.base import RunSpec
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from arker.emulator.sandbox.layers import Stack, takes_another
from arker.emulator.sandbox.small_trees import MOST
from arker.emulator.sandbox.trial import Trial
from tests.emulator.sandbox.support import read, sh, write
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

MANY = MOST + 50
FILL = f"mkdir many; for i in $(seq {MANY}); do echo $i > many/$i; done"


@pytest.fixture
async def large(provider: BubblewrapProvider) -> AsyncIterator[AgentSandbox]:
    """Return a VM with so many files that they are worth sharing; nothing is going on in it."""
    vm = await provider.create("large")
    assert (await sh(vm, f"{FILL}; ln many/1 many/other; chmod 751 /srv; umask")).code == 0
    yield vm
    await vm.delete()


async def forked(provider: BubblewrapProvider, vm: AgentSandbox, name: str) -> AgentSandbox:
    give_up = time.monotonic() + PATIENCE
    for attempt in itertools.count():
        fork = await provider.create(f"{name}-{attempt}", source=vm)
        if fork.tree.stack is not None:
            return fork
        # What the last command has started is still ending, and the files were copied.
        await fork.delete()
        if time.monotonic() > give_up:
            break
        await asyncio.sleep(0.1)
    raise AssertionError("files can be shared wherever the suite runs")


async def test_each_goes_its_own_way(provider: BubblewrapProvider, large: AgentSandbox) -> None:
    await write(large, "kept", b"as it was\n")
    fork = await forked(provider, large, "way")
    assert sum(1 for _ in fork.tree.path.rglob("*")) == 0, "nothing is copied"
    # A file with several names is one file until it is written to; as in every overlay, the names part then.
    await sh(large, "echo parent > many/1; rm many/2; echo new > of-the-parent")
    await sh(fork, "echo child > many/3; rm -r many/4 /mnt; mkdir many/4; mv kept moved; chmod 700 many/5")
    assert (await sh(fork, "cat many/1 many/2 many/3 moved; ls -d many/4/ of-the-parent")).text.split() == [
        *("1", "2", "child", "as", "it", "was", "many/4/")
    ]
    assert (await sh(large, "cat many/1 many/other many/3 kept; stat -c %a many/5; ls many | wc -l")).text.split() == [
        *("parent", "1", "3", "as", "it", "was", "644", str(MANY))
    ]
    assert (await sh(fork, "stat -c %a /srv; ls -d /mnt")).text == "751"
    await fork.delete()


async def test_what_a_fork_has_removed_stays_removed_in_its_own_forks(
    provider: BubblewrapProvider, large: AgentSandbox
) -> None:
    fork = await forked(provider, large, "without")
    await sh(fork, "rm -r many; mkdir many; echo one > many/one")
    child = await provider.create("without-either", source=fork)  # a small change, which is copied
    await sh(fork, FILL.replace("mkdir many; ", ""))
    grandchild = await forked(provider, fork, "without-any")  # a large one, which becomes a layer of its own
    await sh(grandchild, "rm many/one")
    assert (await sh(child, "ls many")).text == "one"
    assert (await sh(grandchild, "ls many | wc -l; cat many/1")).text == f"{MANY}\n1"
    await asyncio.gather(fork.delete(), child.delete(), grandchild.delete())


async def test_a_vm_in_which_something_goes_on_is_copied_and_goes_on(
    provider: BubblewrapProvider, large: AgentSandbox
) -> None:
    for keeps in ("sleep 60", "echo > /dev/shm/file", "ipcmk -M 4096"):
        run = await large.run(RunSpec(command=keeps))
        if keeps != "sleep 60":
            await run.wait()
        agent = (await sh(large, "stat -c %Z /proc/1")).text
        fork = await provider.create("copied", source=large)
        assert fork.tree.stack is None
        assert (await sh(fork, "cat many/7")).text == "7"
        assert (await sh(large, "stat -c %Z /proc/1")).text == agent, "the same processes"
        await run.kill()
        await sh(large, "rm -f /dev/shm/file; ipcrm --all=shm")
        await fork.delete()


async def test_an_idle_vm_is_started_again_with_what_it_had(provider: BubblewrapProvider, large: AgentSandbox) -> None:
    writer = await large.open_write("pending", 1)
    fork = await provider.create("while-pending", source=large)
    assert fork.tree.stack is None
    os.write(writer.fd, b"x")
    await writer.commit()
    shared = await forked(provider, large, "after")
    assert await read(shared, "pending") == await read(large, "pending") == b"x"
    await asyncio.gather(fork.delete(), shared.delete())


async def test_layers_go_with_the_last_that_has_them(provider: BubblewrapProvider, large: AgentSandbox) -> None:
    base = large.tree.path.parent
    before = set(base.iterdir())
    forks = [await forked(provider, large, f"last-{number}") for number in range(3)]
    layers = [path for path in set(base.iterdir()) - before if path.name.startswith(".layer-")]
    assert len(layers) == 1
    await large.delete()
    for fork in forks:
        assert (await sh(fork, "cat many/9")).text == "9"
        assert layers[0].exists()
        await fork.delete()
    assert [path for path in base.iterdir() if "large" in path.name or "last" in path.name] == []
    assert not layers[0].exists()


async def test_a_chain_in_which_each_adds_many_files(
    provider: BubblewrapProvider, large: AgentSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.layers._MOST", 3)
    vms, depths = [large], list[int]()
    for number in range(6):
        await vms[-1].close()
        vms.append(await provider.create(f"link-{number}", source=vms[-1]))
        stack = vms[-1].tree.stack
        depths.append(0 if stack is None else len(stack.layers))
        await sh(vms[-1], f"echo {number} >> log; mkdir m{number}; touch m{number}/{{1..{MANY}}}; rm many/{number + 1}")
    assert depths == [1, 2, 3, 0, 1, 2], "the fourth is put together anew"
    for number, vm in enumerate(vms[1:]):
        seen = (await sh(vm, "cat log | wc -l; ls -d m*/ | wc -l; ls many | wc -l")).text.split()
        assert seen == [str(number + 1), str(number + 2), str(MANY + 1 - number - 1)]
    await asyncio.gather(*(vm.delete() for vm in vms[1:]))


async def test_the_size_is_of_what_the_vm_sees(provider: BubblewrapProvider, large: AgentSandbox) -> None:
    await sh(large, "head -c 100000 /dev/zero > zeros")
    before = await large.tree.size()
    fork = await forked(provider, large, "sized")
    assert await fork.tree.size() == before
    await sh(fork, "rm zeros; head -c 1000 /dev/zero > few")
    assert await fork.tree.size() == before - 99_000
    await fork.delete()


async def test_files_of_layers_survive_and_can_be_adopted(place: Path) -> None:
    first = await BubblewrapProvider.open(place)
    vm = await first.create("durable")
    await sh(vm, FILL)
    await first.create("fork", source=vm)
    await first.close(keep_files=True)
    second = await BubblewrapProvider.open(place)
    vm, fork = await second.adopt("durable"), await second.adopt("fork")
    assert (await sh(fork, "cat many/11; echo changed > many/12")).text == "11"
    assert (await sh(vm, "cat many/12")).text == "12"
    await second.close()
    assert os.listdir(place) == []


def _of_another_bwrap(stack: Stack, own: Path) -> list[str]:
    return ["--overlay-of-another-bwrap", "/"]


async def test_where_nothing_can_be_shared_files_are_copied(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider = await BubblewrapProvider.open(place)
    options = "arker.emulator.sandbox.layers.Stack.options"
    monkeypatch.setattr(options, _of_another_bwrap)
    vm = await provider.create("one")
    await sh(vm, FILL)
    for name in ("two", "three"):
        fork = await provider.create(name, source=vm)
        assert fork.tree.stack is None
        assert (await sh(fork, "cat many/200")).text == "200"
    assert caplog.text.count("forks copy files instead of sharing them") == 1
    await provider.close()


async def test_files_are_shared_again_once_that_works(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.trees.Trial", partial(Trial, again=0.0))
    provider = await BubblewrapProvider.open(place)
    vm = await provider.create("one")
    await sh(vm, FILL)
    with monkeypatch.context() as broken:
        broken.setattr("arker.emulator.sandbox.layers.Stack.options", _of_another_bwrap)
        assert (await provider.create("two", source=vm)).tree.stack is None
    await forked(provider, vm, "three")
    await provider.close()


@pytest.mark.parametrize("failure", [False, OSError("full")])
async def test_a_success_is_remembered_and_a_failure_for_a_while(failure: bool | OSError) -> None:
    results: list[bool | OSError] = [failure, True, False]

    async def attempt() -> bool:
        result = results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result

    trial = Trial(attempt, again=0.0)
    if failure is False:
        assert not await trial.works()
    else:
        with pytest.raises(OSError, match="full"):
            await trial.works()
    assert await trial.works()
    assert await trial.works()
    assert results == [False]
    remembers = Trial(attempt, again=60.0)
    assert not await remembers.works()
    assert not await remembers.works()  # a second attempt would find no result


def test_the_number_of_layers_is_bounded() -> None:
    assert takes_another(Path("/tmp/short"), None)
    assert not takes_another(Path("/tmp/with:colon"), None)
    assert not takes_another(Path("/" + "long/" * 800), None)


@pytest.mark.parametrize(
    "command",
    [
        "chmod 000 / /etc /home /home/user",
        "rm -rf /etc /home /opt /srv /tmp /root",
        "rm /bin /lib /lib64 /sbin",
        "mv /bin /elsewhere; mkdir /bin; echo > /bin/bash",
        "rmdir /mnt /srv; echo file > /srv; rm -rf /etc; echo file > /etc",
        "rm -rf /etc; mkdir -p /etc/ssl; ln -s /oldroot/home /etc/ssl/certs",
    ],
)
async def test_a_fork_that_has_spoilt_its_tree_starts_again(
    provider: BubblewrapProvider, large: AgentSandbox, command: str
) -> None:
    fork = await forked(provider, large, "spoilt")
    for _ in range(2):
        await sh(fork, command)
        await fork.close()
        assert (await sh(fork, "pwd; python3 -c 'print(1+1)'")).text == "/home/user\n2"
    child = await provider.create("spoilt-child", source=fork)
    assert (await sh(child, "pwd; python3 -c 'print(1+1)'; ls /etc/ssl/certs | head -1 | wc -l")).text.startswith(
        "/home/user\n2\n"
    )
    await asyncio.gather(fork.delete(), child.delete())


@pytest.mark.parametrize("where", ["own", "layer", "opaque"])
@pytest.mark.parametrize("name", ["etc", "etc/ssl", "etc/ssl/certs", "home/user", "proc", "usr", "dev"])
async def test_links_to_the_host_in_place_of_mount_points(
    provider: BubblewrapProvider, large: AgentSandbox, place: Path, name: str, where: str
) -> None:
    victim = place / "victim"
    victim.mkdir(mode=0o777)
    victim.chmod(0o777)
    await large.close()
    owner = large.tree.path.stat()
    if where == "layer":
        target = large.tree.path / name
        target.rename(target.with_name("moved-away"))
        target.symlink_to(f"/oldroot{victim}")
    fork = await forked(provider, large, "linked")
    if where != "layer":
        target = fork.tree.path / name
        for above in reversed(PurePath(name).parents[:-1]):
            (fork.tree.path / above).mkdir()
            os.chown(fork.tree.path / above, owner.st_uid, owner.st_gid)
        if where == "opaque":
            os.setxattr(target.parent, "user.overlay.opaque", b"y")
        target.symlink_to(f"/oldroot{victim}")
    assert (await sh(fork, "echo works; command -v python3")).text.startswith("works")
    assert (await sh(fork, "cat /etc/ssl/certs/* >/dev/null; ls /usr/bin/env /proc/self/stat /dev/null")).code == 0
    await fork.close()
    await fork.delete()
    assert os.listdir(victim) == []
    victim.rmdir()
