"""VMs, and the request that forks one (contract, sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._page import Page
from arker.models._reply import Reply, declared
from arker.models.network import NetworkPolicy, NetworkPolicyInput, network_policy
from arker.models.session import Session
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
        vcpu_count: Number of CPUs.
        memory_mib: Memory, in MiB.
        disk_mib: Disk, in MiB.
        network: Which hosts it may reach.
        sessions: Its sessions.
        tunnels: Its tunnels.
        last_active_at: Time of the last use (RFC 3339, UTC).
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


@frozen(kw_only=True)
class ForkRequest:
    """The request of `POST /v1/fork`. Exactly one of ``source_vm_id`` and ``source_vm_name`` is set.

    Attributes:
        source_vm_id: The VM to fork, by id.
        source_vm_name: The VM or public golden to fork, by name.
        source_org_id: The organisation in which the name is looked up.
        name: The new VM's name.
        public: Whether other organisations may fork the new VM.
        network: Which hosts the new VM may reach.
        disk: Whether the VM has its own disk; by default the server decides.
        vcpu_count: Number of CPUs.
        memory_mib: Memory, in MiB.
        max_memory_mib: Maximum memory, in MiB.
        disk_mib: Disk, in MiB.
        durable: Whether runs are resumed after a host failure.
        tunnel: A tunnel to open for the VM.
    """

    source_vm_id: str | None = field(default=None, validator=check.optional(check.identifier))
    source_vm_name: str | None = field(default=None, validator=check.optional(check.name))
    source_org_id: str | None = field(default=None, validator=check.optional(check.name))
    name: str | None = field(default=None, validator=check.optional(check.name))
    public: bool | None = field(default=None, validator=check.optional(check.boolean))
    network: NetworkPolicy | bool | str | None = field(default=None, converter=_network)
    disk: bool | None = field(default=None, validator=check.optional(check.boolean))
    vcpu_count: int | None = field(default=None, validator=check.optional(check.integer(1)))
    memory_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))
    max_memory_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))
    disk_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))
    durable: bool | None = field(default=None, validator=check.optional(check.boolean))
    tunnel: TunnelRequest | None = field(default=None, converter=_tunnel)


@frozen(kw_only=True)
class ResizeRequest:
    """The request of `POST /v1/vms/{id}/resize`, with at least one field.

    Attributes:
        vcpu_count: Number of CPUs.
        memory_mib: Memory, in MiB.
        disk_mib: Disk, in MiB.
    """

    vcpu_count: int | None = field(default=None, validator=check.optional(check.integer(1)))
    memory_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))
    disk_mib: int | None = field(default=None, validator=check.optional(check.integer(1)))

    def __attrs_post_init__(self) -> None:
        if self.vcpu_count is None and self.memory_mib is None and self.disk_mib is None:
            raise InvalidArgumentError(
                "vcpu_count", None, "expected at least one of vcpu_count, memory_mib and disk_mib"
            )


@frozen(kw_only=True)
class ResizeResponse(Reply):
    """The reply to a resize of a VM."""

    resized: bool = declared(True)


__all__ = [
    "DeleteVmResponse",
    "ForkRequest",
    "ListVmsResponse",
    "Provider",
    "ResizeRequest",
    "ResizeResponse",
    "Vm",
    "VmState",
]
