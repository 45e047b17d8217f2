"""The base of the parts of `AsyncVM`: the VM's place and every field of `Vm`, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from arker import models
from arker._basics.guidance import findable, instead, no_end, no_plain_block
from arker._context import Place


class VmBase:
    """A VM's fields at the last read, an attribute for each field of `Vm`; None before the first read."""

    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end
        __init_subclass__ = findable

    def __init__(self, place: Place, data: models.Vm | None = None) -> None:
        self._place = place
        self._data = data

    @property
    def id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._place.vm_id

    @property
    def base_url(self) -> str:
        """The base URL that this handle's calls go to."""
        return self._place.base_url

    @property
    def data(self) -> models.Vm | None:
        """All fields as one value; None before the first read."""
        return self._data

    @property
    def vm_id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._place.vm_id

    @property
    def owner_org_id(self) -> str | None:
        """The organisation that owns the VM."""
        return None if self._data is None else self._data.owner_org_id

    @property
    def created_at(self) -> str | None:
        """The time of the fork (RFC 3339, UTC)."""
        return None if self._data is None else self._data.created_at

    @property
    def name(self) -> str | None:
        """The VM's name in the organisation."""
        return None if self._data is None else self._data.name

    @property
    def public(self) -> bool | None:
        """Whether other organisations may fork the VM."""
        return None if self._data is None else self._data.public

    @property
    def root_source_vm_id(self) -> str | None:
        """The id of the VM's first ancestor; None for a VM forked directly from an image."""
        return None if self._data is None else self._data.root_source_vm_id

    @property
    def root_source_vm_name(self) -> str | None:
        """The name of the VM's first ancestor."""
        return None if self._data is None else self._data.root_source_vm_name

    @property
    def state(self) -> models.VmState | str | None:
        """The VM's state at the last read: ``idle`` or ``running``."""
        return None if self._data is None else self._data.state

    @property
    def region(self) -> str | None:
        """The VM's region."""
        return None if self._data is None else self._data.region

    @property
    def provider(self) -> models.Provider | str | None:
        """The VM's provider: ``aws`` or ``aws-burst``."""
        return None if self._data is None else self._data.provider

    @property
    def started_at(self) -> str | None:
        """The time of the start (RFC 3339, UTC)."""
        return None if self._data is None else self._data.started_at

    @property
    def vcpu_count(self) -> int | None:
        """The number of CPUs."""
        return None if self._data is None else self._data.vcpu_count

    @property
    def memory_mib(self) -> int | None:
        """The memory size in MiB."""
        return None if self._data is None else self._data.memory_mib

    @property
    def disk_mib(self) -> int | None:
        """The disk size in MiB."""
        return None if self._data is None else self._data.disk_mib

    @property
    def network(self) -> models.NetworkPolicy | None:
        """The network policy: which hosts the VM may reach."""
        return None if self._data is None else self._data.network

    @property
    def max_vcpus(self) -> int | None:
        """The maximum number of CPUs."""
        return None if self._data is None else self._data.max_vcpus

    @property
    def max_memory_mib(self) -> int | None:
        """The maximum memory size in MiB."""
        return None if self._data is None else self._data.max_memory_mib

    @property
    def min_memory_mib(self) -> int | None:
        """The minimum memory size in MiB."""
        return None if self._data is None else self._data.min_memory_mib

    @property
    def worker_id(self) -> str | None:
        """The host that the VM is on."""
        return None if self._data is None else self._data.worker_id

    @property
    def last_active_at(self) -> str | None:
        """The time of the last use (RFC 3339, UTC)."""
        return None if self._data is None else self._data.last_active_at

    @property
    def sessions(self) -> tuple[models.Session, ...] | None:
        """The VM's sessions at the last read."""
        return None if self._data is None else self._data.sessions

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...] | None:
        """The VM's tunnels at the last read."""
        return None if self._data is None else self._data.tunnels

    @property
    def description(self) -> str | None:
        """The VM's description."""
        return None if self._data is None else self._data.description

    @property
    def hostname(self) -> str | None:
        """The name at which the VM's services are reached; see `Vm`."""
        return None if self._data is None else self._data.hostname

    @property
    def immutable(self) -> bool | None:
        """Whether the VM can no longer be changed, only forked."""
        return None if self._data is None else self._data.immutable

    @property
    def resources(self) -> models.VmResources | None:
        """The VM's resources as generation 1 of the API reports them."""
        return None if self._data is None else self._data.resources

    @property
    def policies(self) -> Mapping[str, Any] | None:
        """The VM's network policy as generation 1 of the API writes it, unchanged."""
        return None if self._data is None else self._data.policies

    @property
    def ssh_public_keys(self) -> tuple[models.SshPublicKey, ...] | None:
        """The keys with which the VM is reachable by SSH."""
        return None if self._data is None else self._data.ssh_public_keys

    @property
    def min_vcpus(self) -> int | None:
        """The minimum number of CPUs."""
        return None if self._data is None else self._data.min_vcpus

    @property
    def min_disk_mib(self) -> int | None:
        """The minimum disk size in MiB."""
        return None if self._data is None else self._data.min_disk_mib

    @property
    def max_disk_mib(self) -> int | None:
        """The maximum disk size in MiB."""
        return None if self._data is None else self._data.max_disk_mib

    @property
    def gpu_platforms(self) -> tuple[models.GpuPlatformLimits, ...] | None:
        """What the VM can have of the GPUs of its platforms."""
        return None if self._data is None else self._data.gpu_platforms

    @property
    def platform(self) -> str | None:
        """The platform that the VM runs on."""
        return None if self._data is None else self._data.platform

    @property
    def compatible_platforms(self) -> tuple[models.CompatiblePlatform, ...] | None:
        """The platforms that the VM can be forked on."""
        return None if self._data is None else self._data.compatible_platforms

    @property
    def pool_id(self) -> str | None:
        """The pool that the VM belongs to."""
        return None if self._data is None else self._data.pool_id


def place_of(vm: VmBase) -> Place:
    """Return a handle's place, for code that manages many VMs."""
    return vm._place  # pyright: ignore[reportPrivateUsage]


__all__ = ["VmBase", "place_of"]
