"""What a handle on a VM shows of it: its id, its base URL, and every field of `Vm`, without any I/O."""

from __future__ import annotations

from arker import models


class VmFields:
    """Each attribute is the field of `Vm` of that name as it was last read; None on a handle that has no data yet."""

    def __init__(self, vm_id: str, base_url: str, data: models.Vm | None) -> None:
        self._id = vm_id
        self._base_url = base_url
        self._data = data
        self._doubtful = False

    @property
    def id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._id

    @property
    def base_url(self) -> str:
        """The base URL that this handle's calls go to."""
        return self._base_url

    @property
    def data(self) -> models.Vm | None:
        """All fields as one value; None on a handle that has no data yet."""
        return self._data

    @property
    def vm_id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._id

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


def take_doubt(vm: VmFields) -> bool:
    """Whether a run in the VM has failed, as it does when the VM goes; asked once for each time."""
    doubt = vm._doubtful  # pyright: ignore[reportPrivateUsage]
    vm._doubtful = False  # pyright: ignore[reportPrivateUsage]
    return doubt
