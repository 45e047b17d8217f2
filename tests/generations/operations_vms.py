"""Operations of the client on the service and on VMs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from arker import AsyncVM, PolicyMatch, PolicyRule, PolicyUpdate, RegistryAuth, ScheduleRule
from tests.generations.scenes import Operation, Scene
from tests.support.secrets import PASSWORD

_UUID: Final = "8a0c8b52-6d93-4f8e-8d43-0123456789ab"
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


async def _fork_policies(scene: Scene) -> None:
    rules = {
        "some": PolicyRule(type="outbound", priority=2, action="allow", match=PolicyMatch(hosts=["x.example"])),
        "rest": {"type": "outbound", "priority": 1, "action": "deny"},
    }
    async with _forked(scene, policies={"rules": rules}) as vm:
        assert vm.policies is not None
        assert set(vm.policies["rules"]) == {"some", "rest"}


async def _fork_policies_unenforced(scene: Scene) -> None:
    rules = {"later": ScheduleRule(action="delete", after_created=60)}
    async with _forked(scene, policies=PolicyUpdate(rules=rules)):
        raise AssertionError("a rule that is not enforced")


async def _fork_registry(scene: Scene) -> None:
    auth = RegistryAuth(username="me", password=PASSWORD)
    async with _forked(scene, None, image="ubuntu", registry_auth=auth):
        raise AssertionError("an image of a registry")


async def _fork_ssh(scene: Scene) -> None:
    async with _forked(scene, ssh_public_keys={"mine": {"public_key": "ssh-ed25519 AAAA"}}):
        raise AssertionError("a way in by SSH")


async def _fork_gpu(scene: Scene) -> None:
    async with _forked(scene, vgpu=0.5):
        raise AssertionError("a GPU")


async def _fork_pool(scene: Scene) -> None:
    async with _forked(scene, pool_name="batch"):
        raise AssertionError("a pool")


async def _fork_many(scene: Scene) -> None:
    async with scene.ar.fork_many("ubuntu", 2) as fleet:
        assert [each.value.stdout for each in await fleet.run("echo hi") if each.value] == [b"hi\n"] * 2


async def _get_vm(scene: Scene) -> None:
    vm = await scene.ar.get_vm(scene.vm.id)
    assert (vm.id, vm.state) == (scene.vm.id, "idle")
    assert (await scene.ar.find_vm(scene.vm.id)).id == vm.id
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


async def _update_policies(scene: Scene) -> None:
    rule = {"type": "outbound", "priority": 5, "action": "deny"}
    vm = await scene.vm.update(policies={"rules": {"none": rule}})
    assert vm.policies == {"rules": {"none": rule}, "secrets": {}}
    vm = await vm.update(policies={"rules": {"none": None}})
    assert vm.policies == {"rules": {}, "secrets": {}}


async def _pools(scene: Scene) -> None:
    await scene.ar.list_pools()


async def _pool_changes(scene: Scene) -> None:
    size = {"vcpu": 1, "memory_mib": 1024, "disk_mib": 1024}
    await scene.ar.create_pool("managed", name="batch", platform="linux", resources=size)


async def _pool(scene: Scene) -> None:
    await scene.ar.get_pool(_UUID)


async def _pool_update(scene: Scene) -> None:
    await scene.ar.update_pool(_UUID, name="")


async def _pool_deletion(scene: Scene) -> None:
    await scene.ar.delete_pool(_UUID)


async def _pool_workers(scene: Scene) -> None:
    await scene.ar.list_pool_workers(_UUID)


async def _api_keys(scene: Scene) -> None:
    await scene.ar.list_api_keys()


async def _api_key(scene: Scene) -> None:
    await scene.ar.create_api_key(name="ci", scopes=[{"vm_id": scene.vm.id}])


async def _api_key_end(scene: Scene) -> None:
    await scene.ar.revoke_api_key("ci-1")


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
    Operation("ar.fork(policies=)", _fork_policies),
    Operation("ar.fork(policies=) of a schedule", _fork_policies_unenforced),
    Operation("ar.fork(image=, registry_auth=)", _fork_registry),
    Operation("ar.fork(ssh_public_keys=)", _fork_ssh),
    Operation("ar.fork(vgpu=)", _fork_gpu),
    Operation("ar.fork(pool_name=)", _fork_pool),
    Operation("ar.fork_many(), fleet.run()", _fork_many),
    Operation("ar.get_vm(), ar.find_vm(), vm.refresh()", _get_vm),
    Operation("ar.list_vms(), ar.iter_vms()", _list_vms),
    Operation("ar.list_vms(created_after=, created_before=)", _list_vms_created),
    Operation("ar.list_vms(org_id=, public=)", _list_public),
    Operation("ar.list_vms(started_before=)", _list_vms_started),
    Operation("ar.list_vms(source_org_id=)", _list_vms_source),
    Operation("vm.resize()", _resize),
    Operation("vm.update(description=)", _update_description),
    Operation("vm.update(vcpu_count=)", _update_sizes),
    Operation("vm.update(network=)", _update_network),
    Operation("vm.update(policies=)", _update_policies),
    Operation("vm.update(immutable=)", _update_immutable),
    Operation("vm.delete()", _delete),
    Operation("ar.list_pools()", _pools),
    Operation("ar.create_pool()", _pool_changes),
    Operation("ar.get_pool()", _pool),
    Operation("ar.update_pool()", _pool_update),
    Operation("ar.delete_pool()", _pool_deletion),
    Operation("ar.list_pool_workers()", _pool_workers),
    Operation("ar.list_api_keys()", _api_keys),
    Operation("ar.create_api_key()", _api_key),
    Operation("ar.revoke_api_key()", _api_key_end),
)
