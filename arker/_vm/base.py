"""What the parts of `AsyncVM` stand on: where the VM is, and every field of `Vm`, without any I/O."""

from __future__ import annotations

from arker import models
from arker._context import Place


class VmBase:
    """Each attribute is the field of `Vm` of that name as it was last read; None on a handle that has no data yet."""

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
        """All fields as one value; None on a handle that has no data yet."""
        return self._data

    @property
    def vm_id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._place.vm_id

    @property
    def owner_org_id(self) -> str | None:
        """The organisation that owns it."""
        return None if self._data is None else self._data.owner_org_id

    @property
    def created_at(self) -> str | None:
        """When it was forked (RFC 3339, UTC)."""
        return None if self._data is None else self._data.created_at

    @property
    def name(self) -> str | None:
        """Its name in the organisation."""
        return None if self._data is None else self._data.name

    @property
    def public(self) -> bool | None:
        """Whether other organisations may fork it."""
        return None if self._data is None else self._data.public

    @property
    def root_source_vm_id(self) -> str | None:
        """Its deepest ancestor; None for a VM forked straight from an image."""
        return None if self._data is None else self._data.root_source_vm_id

    @property
    def root_source_vm_name(self) -> str | None:
        """The name of its deepest ancestor."""
        return None if self._data is None else self._data.root_source_vm_name

    @property
    def state(self) -> models.VmState | str | None:
        """``idle`` or ``running``, when it was last asked for."""
        return None if self._data is None else self._data.state

    @property
    def region(self) -> str | None:
        """Its region."""
        return None if self._data is None else self._data.region

    @property
    def provider(self) -> models.Provider | str | None:
        """``aws`` or ``aws-burst``."""
        return None if self._data is None else self._data.provider

    @property
    def started_at(self) -> str | None:
        """When it was started (RFC 3339, UTC)."""
        return None if self._data is None else self._data.started_at

    @property
    def vcpu_count(self) -> int | None:
        """CPUs that it has."""
        return None if self._data is None else self._data.vcpu_count

    @property
    def memory_mib(self) -> int | None:
        """Memory that it has, in MiB."""
        return None if self._data is None else self._data.memory_mib

    @property
    def disk_mib(self) -> int | None:
        """Disk that it has, in MiB."""
        return None if self._data is None else self._data.disk_mib

    @property
    def network(self) -> models.NetworkPolicy | None:
        """Which hosts it may reach."""
        return None if self._data is None else self._data.network

    @property
    def max_vcpus(self) -> int | None:
        """Bound on its CPUs."""
        return None if self._data is None else self._data.max_vcpus

    @property
    def max_memory_mib(self) -> int | None:
        """Upper bound on its memory, in MiB."""
        return None if self._data is None else self._data.max_memory_mib

    @property
    def min_memory_mib(self) -> int | None:
        """Lower bound on its memory, in MiB."""
        return None if self._data is None else self._data.min_memory_mib

    @property
    def worker_id(self) -> str | None:
        """The host that it is on."""
        return None if self._data is None else self._data.worker_id

    @property
    def last_active_at(self) -> str | None:
        """When it was last used (RFC 3339, UTC)."""
        return None if self._data is None else self._data.last_active_at

    @property
    def sessions(self) -> tuple[models.Session, ...] | None:
        """Its sessions, when it was last asked for."""
        return None if self._data is None else self._data.sessions

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...] | None:
        """Its tunnels, when it was last asked for."""
        return None if self._data is None else self._data.tunnels


def place_of(vm: VmBase) -> Place:
    """Give what a handle stands on to those who look after many."""
    return vm._place  # pyright: ignore[reportPrivateUsage]


__all__ = ["VmBase", "place_of"]
