"""Operations of the client on the service and on VMs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from arker import AsyncVM
from tests.generations.scenes import Operation, Scene

_LONG_AGO: Final = "2020-01-01T00:00:00Z"


@asynccontextmanager
async def _forked(scene: Scene, source: str | None = "ubuntu", **options: Any) -> AsyncGenerator[AsyncVM, None]:
    async with await scene.ar.fork(source, **options) as vm:
        yield vm


async def _list_regions(scene: Scene) -> None:
    (place,) = await scene.ar.list_regions()
    assert place.endpoint is not None
    assert place.endpoint.startswith("http://127.0.0.1:")


async def _whoami(scene: Scene) -> None:
    assert (await scene.ar.whoami()).org_id == "org_local"


async def _fork(scene: Scene) -> None:
    async with _forked(scene, name=scene.name(), public=True) as vm:
        assert vm.public is True


async def _fork_by_id(scene: Scene) -> None:
    async with _forked(scene, None, source_vm_id=scene.vm.id, idempotency_key=scene.name()) as vm:
        assert vm.id != scene.vm.id


async def _fork_org(scene: Scene) -> None:
    async with _forked(scene, None, source_vm_name="ubuntu", source_org_id="ArkerHQ") as vm:
        assert vm.id


async def _vm_fork(scene: Scene) -> None:
    async with await scene.vm.fork() as vm:
        assert vm.id != scene.vm.id


async def _snapshot(scene: Scene) -> None:
    made = await scene.vm.snapshot(scene.name())
    assert made.kept
    await made.delete()


async def _fork_sizes(scene: Scene) -> None:
    async with _forked(scene, vcpu_count=2, memory_mib=1024, disk_mib=2048) as vm:
        assert (vm.vcpu_count, vm.memory_mib, vm.disk_mib) == (2, 1024, 2048)


async def _fork_network(scene: Scene) -> None:
    for network, kind in ((False, "blocked"), (True, "open"), ({"type": "allow", "allow": ["x.example"]}, "allow")):
        async with _forked(scene, network=network) as vm:
            await vm.refresh()
            assert vm.network is not None
            assert vm.network.type == kind


async def _fork_disk(scene: Scene) -> None:
    async with _forked(scene, disk=True, durable=False) as vm:
        assert vm.id


async def _fork_memory(scene: Scene) -> None:
    async with _forked(scene, max_memory_mib=2048) as vm:
        assert vm.max_memory_mib == 2048


async def _fork_tunnel(scene: Scene) -> None:
    async with _forked(scene, tunnel={"ports": [8080]}) as vm:
        assert vm.tunnels is not None
        assert [tunnel.port for tunnel in vm.tunnels] == [8080]


async def _fork_image(scene: Scene) -> None:
    async with _forked(scene, None, image="ubuntu") as vm:
        assert (await vm.run("echo there")).stdout == b"there\n"


async def _fork_description(scene: Scene) -> None:
    async with _forked(scene, description="what it is for") as vm:
        assert vm.description == "what it is for"


async def _fork_waiting(scene: Scene) -> None:
    async with _forked(scene, queueing_timeout=5) as vm:
        assert vm.id


async def _fork_layers(scene: Scene) -> None:
    async with _forked(scene, layers=["disk"]) as vm:
        assert vm.id


async def _fork_all_layers(scene: Scene) -> None:
    async with _forked(scene, layers=["disk", "memory"]):
        raise AssertionError("a copy of processes")


async def _fork_command(scene: Scene) -> None:
    async with _forked(scene, command="echo begun > begun") as vm:
        assert (await vm.run("cat begun")).stdout == b"begun\n"


async def _fork_platforms(scene: Scene) -> None:
    async with _forked(scene, platforms=[]) as vm:
        assert vm.id


async def _fork_many(scene: Scene) -> None:
    async with scene.ar.fork_many("ubuntu", 2) as fleet:
        assert [each.value.stdout for each in await fleet.run("echo hi") if each.value] == [b"hi\n"] * 2


async def _get_vm(scene: Scene) -> None:
    vm = await scene.ar.get_vm(scene.vm.id)
    assert (vm.id, vm.state) == (scene.vm.id, "idle")
    assert (await scene.vm.refresh()).vcpu_count is not None


async def _list_vms(scene: Scene) -> None:
    assert scene.vm.id in [each.vm_id for each in await scene.ar.list_vms(limit=1000, state=["idle", "running"])]
    assert scene.vm.id in [each.id async for each in scene.ar.iter_vms(page_size=1, region="us-west-2")]


async def _list_vms_created(scene: Scene) -> None:
    assert scene.vm.id in [each.vm_id for each in await scene.ar.list_vms(limit=1000, created_after=_LONG_AGO)]
    assert list(await scene.ar.list_vms(created_before=_LONG_AGO)) == []


async def _list_public(scene: Scene) -> None:
    goldens = await scene.ar.list_vms(org_id="ArkerHQ", public=True)
    assert "ubuntu-full" in [each.name for each in goldens]


async def _list_vms_started(scene: Scene) -> None:
    assert list(await scene.ar.list_vms(started_before=_LONG_AGO)) == []


async def _list_vms_source(scene: Scene) -> None:
    assert list(await scene.ar.list_vms(source_org_id="none")) == []


async def _resize(scene: Scene) -> None:
    await scene.vm.resize(vcpu_count=3, memory_mib=512)
    vm = await scene.vm.refresh()
    assert (vm.vcpu_count, vm.memory_mib) == (3, 512)


async def _update_description(scene: Scene) -> None:
    assert (await scene.vm.update(description="new")).description == "new"
    assert (await scene.vm.update(description="")).description is None


async def _update_sizes(scene: Scene) -> None:
    assert (await scene.vm.update(vcpu_count=3)).vcpu_count == 3


async def _update_network(scene: Scene) -> None:
    vm = await scene.vm.update(network=False)
    assert vm.network is not None
    assert vm.network.type == "blocked"


async def _update_immutable(scene: Scene) -> None:
    assert (await scene.vm.update(immutable=True)).immutable is True


async def _delete(scene: Scene) -> None:
    vm = await scene.ar.fork("ubuntu")
    assert (await vm.delete()).deleted is True


OPERATIONS: Final = (
    Operation("ar.list_regions()", _list_regions),
    Operation("ar.whoami()", _whoami),
    Operation("ar.fork(name, public=)", _fork),
    Operation("ar.fork(source_vm_id=, idempotency_key=)", _fork_by_id),
    Operation("ar.fork(source_vm_name=, source_org_id=)", _fork_org),
    Operation("vm.fork()", _vm_fork),
    Operation("vm.snapshot()", _snapshot),
    Operation("ar.fork(vcpu_count=, memory_mib=, disk_mib=)", _fork_sizes),
    Operation("ar.fork(network=)", _fork_network),
    Operation("ar.fork(disk=, durable=)", _fork_disk),
    Operation("ar.fork(max_memory_mib=)", _fork_memory),
    Operation("ar.fork(tunnel=)", _fork_tunnel),
    Operation("ar.fork(image=)", _fork_image),
    Operation("ar.fork(description=)", _fork_description),
    Operation("ar.fork(queueing_timeout=)", _fork_waiting),
    Operation('ar.fork(layers=["disk"])', _fork_layers),
    Operation('ar.fork(layers=["disk", "memory"])', _fork_all_layers),
    Operation("ar.fork(command=)", _fork_command),
    Operation("ar.fork(platforms=)", _fork_platforms),
    Operation("ar.fork_many(), fleet.run()", _fork_many),
    Operation("ar.get_vm(), vm.refresh()", _get_vm),
    Operation("ar.list_vms(), ar.iter_vms()", _list_vms),
    Operation("ar.list_vms(created_after=, created_before=)", _list_vms_created),
    Operation("ar.list_vms(org_id=, public=)", _list_public),
    Operation("ar.list_vms(started_before=)", _list_vms_started),
    Operation("ar.list_vms(source_org_id=)", _list_vms_source),
    Operation("vm.resize()", _resize),
    Operation("vm.update(description=)", _update_description),
    Operation("vm.update(vcpu_count=)", _update_sizes),
    Operation("vm.update(network=)", _update_network),
    Operation("vm.update(immutable=)", _update_immutable),
    Operation("vm.delete()", _delete),
)
