"""VMs, and the request that forks one (contract, sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from attrs import field, fields, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._fields import HIDDEN, converted
from arker.models._page import Page
from arker.models._reply import Reply, declared
from arker.models.image import RegistryAuth, registry_auth
from arker.models.network import NetworkPolicy, NetworkPolicyInput, network_policy
from arker.models.platform import CompatiblePlatform, GpuPlatformLimits, VmResources
from arker.models.policy import PolicyInput, PolicyUpdate, policy_update
from arker.models.run import command_line
from arker.models.session import Session
from arker.models.ssh import SshKeyInput, SshKeys, SshPublicKey, ssh_keys
from arker.models.tunnel import Tunnel, TunnelRequest, tunnel_request

VmState: TypeAlias = Literal["idle", "running"]
Provider: TypeAlias = Literal["aws", "aws-burst"]
"""Known providers; a provider may be any label of a host name."""


@frozen(kw_only=True)
class Vm(Reply):
    """A VM's fields from the server. Only the id is always present: old servers reply to a fork with the id alone.

    In a list, the id is empty if the server sent none.

    Attributes:
        vm_id: The VM's id.
        owner_org_id: The organisation that owns it.
        created_at: Time of the fork (RFC 3339, UTC).
        name: Its name in the organisation; None if it has none.
        public: Whether other organisations may fork it.
        root_source_vm_id: The id of its first ancestor; absent for a VM forked directly from an image.
        root_source_vm_name: The name of that ancestor.
        state: ``idle`` or ``running``; an unknown state is kept unchanged.
        vcpu_count: Number of CPUs, 255 at most.
        memory_mib: Memory, in MiB.
        disk_mib: Disk, in MiB.
        network: Which hosts it may reach.
        sessions: Its sessions.
        tunnels: Its tunnels.
        last_active_at: Time of the last use (RFC 3339, UTC).
        description: Its description; None if it has none.
        hostname: The name at which its services are reached: bare for port 8080, ``<vm>-<port>.…`` for other ports.
        immutable: Whether it can no longer be changed, only forked.
        resources: Its resources; ``vcpu_count``, ``memory_mib`` and ``disk_mib`` are the same values.
        policies: Its network policy as generation 1 writes it, unchanged; ``network`` is what it means, if that is one
            of the policies of `NetworkPolicy`.
        ssh_public_keys: The keys with which it is reachable by SSH.
        gpu_platforms: What it can have of the GPUs of its platforms.
        platform: The platform that it runs on.
        compatible_platforms: The platforms that it can be forked on.
        pool_id: The pool that it belongs to.
    """

    vm_id: str
    owner_org_id: str | None = None
    created_at: str | None = None
    name: str | None = None
    public: bool | None = None
    root_source_vm_id: str | None = None
    root_source_vm_name: str | None = None
    state: VmState | str | None = None
    region: str | None = None
    provider: Provider | str | None = None
    started_at: str | None = None
    vcpu_count: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    network: NetworkPolicy | None = None
    max_vcpus: int | None = None
    max_memory_mib: int | None = None
    min_memory_mib: int | None = None
    worker_id: str | None = None
    sessions: tuple[Session, ...] = ()
    tunnels: tuple[Tunnel, ...] = ()
    last_active_at: str | None = None
    description: str | None = None
    hostname: str | None = None
    immutable: bool | None = None
    resources: VmResources | None = None
    policies: Mapping[str, Any] | None = field(default=None, repr=False)
    ssh_public_keys: tuple[SshPublicKey, ...] = ()
    min_vcpus: int | None = None
    min_disk_mib: int | None = None
    max_disk_mib: int | None = None
    gpu_platforms: tuple[GpuPlatformLimits, ...] = ()
    platform: str | None = None
    compatible_platforms: tuple[CompatiblePlatform, ...] = ()
    pool_id: str | None = None


@frozen(kw_only=True)
class ListVmsResponse(Page[Vm], Reply):
    """A page of VMs, newest first. There are more pages while ``next_cursor`` is set."""

    vms: tuple[Vm, ...]
    next_cursor: str | None = None

    def _items(self) -> tuple[Vm, ...]:
        return self.vms


@frozen(kw_only=True)
class DeleteVmResponse(Reply):
    """The reply to the deletion of a VM."""

    deleted: bool = declared(True)


def _network(value: NetworkPolicyInput | None) -> NetworkPolicy | bool | str | None:
    return None if value is None else network_policy("network", value)


def _tunnel(value: TunnelRequest | Mapping[str, Any] | None) -> TunnelRequest | None:
    return None if value is None else tunnel_request("tunnel", value)


Layer: TypeAlias = Literal["disk", "memory"]
"""A layer of a VM that a fork copies: its files, or its processes as well."""


def _layers(value: Sequence[Layer] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    layers: tuple[object, ...] = tuple(value) if check.is_array(value) else ()
    if "disk" not in layers or not set(layers) <= {"disk", "memory"}:
        raise InvalidArgumentError("layers", value, "expected ['disk'] or ['disk', 'memory']")
    # Always in the same order: a repeated request must be identical byte for byte.
    return tuple(layer for layer in ("disk", "memory") if layer in layers)


def _platforms(value: Sequence[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not check.is_array(value):
        raise InvalidArgumentError("platforms", value, "expected a list of platforms' ids")
    return tuple(check.check_text(f"platforms[{index}]", each) for index, each in enumerate(value))


def _command(value: str | Sequence[str] | None) -> str | None:
    return None if value is None else command_line(value)


def _queueing_timeout(value: float | None) -> int | None:
    return None if value is None else check.check_whole_seconds("queueing_timeout", value)


def _registry_auth(value: RegistryAuth | Mapping[str, str] | None) -> RegistryAuth | None:
    return None if value is None else registry_auth("registry_auth", value)


def _policies(value: PolicyInput | None) -> PolicyUpdate | None:
    return None if value is None else policy_update("policies", value)


def _ssh_keys(value: SshKeys | None) -> dict[str, SshKeyInput | None] | None:
    return None if value is None else ssh_keys("ssh_public_keys", value)


_VGPUS: Final = (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 2, 4, 8)


def _vgpu(argument: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value not in _VGPUS:
        raise InvalidArgumentError(argument, value, f"expected one of {', '.join(map(str, _VGPUS))}")
    return value


def _check_exclusive(request: ForkRequest | PatchVmRequest) -> None:
    """Refuse two arguments that say the same in two ways."""
    for first, second in (("network", "policies"), ("pool_id", "pool_name")):
        if getattr(request, first) is not None and getattr(request, second) is not None:
            shown = HIDDEN if second == "policies" else getattr(request, second)
            raise InvalidArgumentError(second, shown, f"expected either {first} or {second}")


_OPTIONAL: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "source_vm_id": check.check_id,
    "source_vm_name": check.check_name,
    "source_org_id": check.check_name,
    "name": check.check_name,
    "public": check.check_boolean,
    "disk": check.check_boolean,
    "vcpu_count": check.check_vcpus,
    "memory_mib": check.at_least(1),
    "max_memory_mib": check.at_least(1),
    "disk_mib": check.at_least(1),
    "durable": check.check_boolean,
    "image": check.check_text,
    "description": check.check_description,
    "source_org_name": check.check_name,
    "nestedvirt": check.check_boolean,
    "pool_id": check.check_id,
    "pool_name": check.check_name,
    "command": check.check_text,
}
"""Fields of a fork with the functions that check them, together: validators would be called for each that is absent."""


@frozen(kw_only=True)
class ForkRequest:
    """The request of `POST /v1/fork`. Exactly one of ``source_vm_id``, ``source_vm_name`` and ``image`` is set.

    Attributes:
        source_vm_id: The VM to fork, by id.
        source_vm_name: The VM or public golden to fork, by name.
        source_org_id: The organisation in which the name is looked up.
        name: The new VM's name.
        public: Whether other organisations may fork the new VM.
        network: Which hosts the new VM may reach.
        disk: Whether the VM has its own disk; by default the server decides.
        vcpu_count: Number of CPUs, 255 at most.
        memory_mib: Memory, in MiB.
        max_memory_mib: Maximum memory, in MiB.
        disk_mib: Disk, in MiB.
        durable: Whether runs are resumed after a host failure.
        tunnel: A tunnel to open for the VM.
        image: A container image to make the VM of, such as ``python:3.12``.
        description: The new VM's description.
        queueing_timeout: Seconds for which the server may wait for capacity; 0 means not at all.
        layers: What is copied: ``disk`` (the files), or ``disk`` and ``memory`` (processes go on in the new VM).
        command: A command that is started in the background in the new VM's default session.
        platforms: Ids of the platforms that the new VM may run on; empty for any.
        source_org_name: The name of the organisation in which the name is looked up, instead of ``source_org_id``.
        registry_auth: The credentials for the registry of ``image``.
        nestedvirt: Whether the VM of ``image`` can run VMs itself.
        policies: Changes of the source's policy, in force before the first run; not together with ``network``.
        ssh_public_keys: The keys with which the new VM is reachable by SSH, by their ids.
        vgpu: GPUs, in eighths up to 1, or 2, 4 or 8.
        pool_id: The pool to make it in, by id.
        pool_name: The pool to make it in, by name.
    """

    source_vm_id: str | None = None
    source_vm_name: str | None = None
    source_org_id: str | None = None
    name: str | None = None
    public: bool | None = None
    network: NetworkPolicy | bool | str | None = field(default=None, converter=_network)
    disk: bool | None = None
    vcpu_count: int | None = None
    memory_mib: int | None = None
    max_memory_mib: int | None = None
    disk_mib: int | None = None
    durable: bool | None = None
    tunnel: TunnelRequest | None = field(default=None, converter=_tunnel)
    image: str | None = None
    description: str | None = None
    queueing_timeout: int | None = field(default=None, converter=_queueing_timeout)
    layers: tuple[str, ...] | None = field(default=None, converter=_layers)
    command: str | None = field(default=None, converter=_command)
    platforms: tuple[str, ...] | None = field(default=None, converter=_platforms)
    source_org_name: str | None = None
    registry_auth: RegistryAuth | None = field(default=None, converter=_registry_auth)
    nestedvirt: bool | None = None
    policies: PolicyUpdate | None = field(default=None, converter=_policies)
    ssh_public_keys: Mapping[str, SshKeyInput | None] | None = field(default=None, converter=_ssh_keys)
    vgpu: float | None = converted(_vgpu)
    pool_id: str | None = None
    pool_name: str | None = None

    def __attrs_post_init__(self) -> None:
        check.check_given(self, _OPTIONAL)
        for name in ("registry_auth", "nestedvirt"):
            if getattr(self, name) is not None and self.image is None:
                raise InvalidArgumentError(name, HIDDEN, "expected it only together with image")
        if self.source_org_name is not None and (self.source_vm_name is None or self.source_org_id is not None):
            expected = "expected it only with a source's name, and without source_org_id"
            raise InvalidArgumentError("source_org_name", self.source_org_name, expected)
        _check_exclusive(self)


@frozen(kw_only=True)
class ResizeRequest:
    """The request of `POST /v1/vms/{id}/resize`, with at least one field.

    Attributes:
        vcpu_count: Number of CPUs, 255 at most.
        memory_mib: Memory, in MiB.
        disk_mib: Disk, in MiB.
    """

    vcpu_count: int | None = field(default=None, validator=check.optional(check.vcpus))
    memory_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))
    disk_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))

    def __attrs_post_init__(self) -> None:
        if self.vcpu_count is None and self.memory_mib is None and self.disk_mib is None:
            raise InvalidArgumentError(
                "vcpu_count", None, "expected at least one of vcpu_count, memory_mib and disk_mib"
            )


@frozen(kw_only=True)
class PatchVmRequest:
    """The request of `PATCH /v1/vms/{id}`, with at least one field.

    Attributes:
        description: The VM's description; an empty one removes it.
        vcpu_count: Number of CPUs, 255 at most.
        memory_mib: Memory, in MiB.
        disk_mib: Disk, in MiB.
        network: Which hosts the VM may reach.
        immutable: True to make the VM immutable, alone.
        policies: Changes of its policy; not together with ``network``.
        ssh_public_keys: The keys with which it is reachable by SSH, by their ids; None removes one.
        vgpu: GPUs, in eighths up to 1, or 2, 4 or 8.
        pool_id: The pool to move it to, by id.
        pool_name: The pool to move it to, by name.
    """

    description: str | None = field(default=None, validator=check.optional(check.description))
    vcpu_count: int | None = field(default=None, validator=check.optional(check.vcpus))
    memory_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))
    disk_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))
    network: NetworkPolicy | bool | str | None = field(default=None, converter=_network)
    immutable: bool | None = field(default=None, validator=check.optional(check.boolean))
    policies: PolicyUpdate | None = field(default=None, converter=_policies)
    ssh_public_keys: Mapping[str, SshKeyInput | None] | None = field(default=None, converter=_ssh_keys)
    vgpu: float | None = converted(_vgpu)
    pool_id: str | None = field(default=None, validator=check.optional(check.identifier))
    pool_name: str | None = field(default=None, validator=check.optional(check.name))

    def __attrs_post_init__(self) -> None:
        _check_exclusive(self)
        names = [each.name for each in fields(PatchVmRequest) if each.name != "immutable"]
        changes = sum(getattr(self, name) is not None for name in names)
        if self.immutable is not None and (changes or not self.immutable):
            raise InvalidArgumentError("immutable", self.immutable, "expected True, without any other change")
        if not changes and self.immutable is None:
            raise InvalidArgumentError("description", None, "expected at least one change")


@frozen(kw_only=True)
class ResizeResponse(Reply):
    """The reply to a resize of a VM."""

    resized: bool = declared(True)


__all__ = [
    "DeleteVmResponse",
    "ForkRequest",
    "Layer",
    "ListVmsResponse",
    "PatchVmRequest",
    "Provider",
    "ResizeRequest",
    "ResizeResponse",
    "Vm",
    "VmState",
]
