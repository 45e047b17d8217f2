"""The base of the parts of `AsyncVM`: the VM's place and every field of `Vm`, without any I/O."""

from __future__ import annotations

from arker import models
from arker._context import Place


class VmBase:
    """A VM's fields at the last read, an attribute for each field of `Vm`; None before the first read."""

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


def place_of(vm: VmBase) -> Place:
    """Return a handle's place, for code that manages many VMs."""
    return vm._place  # pyright: ignore[reportPrivateUsage]


__all__ = ["VmBase", "place_of"]
