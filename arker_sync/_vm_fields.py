# Generated from arker/_vm_fields.py by "nox -s facade": change that file, not this one.
"""What a handle on a VM shows of it: its id, its base URL, and every field of `Vm`, without any I/O."""

from __future__ import annotations

import arker
from arker import models
from arker_sync._facade import Facade


class VmFields(Facade):
    """Each attribute is the field of `Vm` of that name as it was last read; None on a handle that has no data yet."""

    _async: arker.AsyncVM

    @property
    def id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._async.id

    @property
    def base_url(self) -> str:
        """The base URL that this handle's calls go to."""
        return self._async.base_url

    @property
    def data(self) -> models.Vm | None:
        """All fields as one value; None on a handle that has no data yet."""
        return self._async.data

    @property
    def vm_id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._async.vm_id

    @property
    def owner_org_id(self) -> str | None:
        """The organisation that owns it."""
        return self._async.owner_org_id

    @property
    def created_at(self) -> str | None:
        """When it was forked (RFC 3339, UTC)."""
        return self._async.created_at

    @property
    def name(self) -> str | None:
        """Its name in the organisation."""
        return self._async.name

    @property
    def public(self) -> bool | None:
        """Whether other organisations may fork it."""
        return self._async.public

    @property
    def root_source_vm_id(self) -> str | None:
        """Its deepest ancestor; None for a VM forked straight from an image."""
        return self._async.root_source_vm_id

    @property
    def root_source_vm_name(self) -> str | None:
        """The name of its deepest ancestor."""
        return self._async.root_source_vm_name

    @property
    def state(self) -> models.VmState | str | None:
        """``idle`` or ``running``, when it was last asked for."""
        return self._async.state

    @property
    def region(self) -> str | None:
        """Its region."""
        return self._async.region

    @property
    def provider(self) -> models.Provider | str | None:
        """``aws`` or ``aws-burst``."""
        return self._async.provider

    @property
    def started_at(self) -> str | None:
        """When it was started (RFC 3339, UTC)."""
        return self._async.started_at

    @property
    def vcpu_count(self) -> int | None:
        """CPUs that it has."""
        return self._async.vcpu_count

    @property
    def memory_mib(self) -> int | None:
        """Memory that it has, in MiB."""
        return self._async.memory_mib

    @property
    def disk_mib(self) -> int | None:
        """Disk that it has, in MiB."""
        return self._async.disk_mib

    @property
    def network(self) -> models.NetworkPolicy | None:
        """Which hosts it may reach."""
        return self._async.network

    @property
    def max_vcpus(self) -> int | None:
        """Bound on its CPUs."""
        return self._async.max_vcpus

    @property
    def max_memory_mib(self) -> int | None:
        """Upper bound on its memory, in MiB."""
        return self._async.max_memory_mib

    @property
    def min_memory_mib(self) -> int | None:
        """Lower bound on its memory, in MiB."""
        return self._async.min_memory_mib

    @property
    def worker_id(self) -> str | None:
        """The host that it is on."""
        return self._async.worker_id

    @property
    def last_active_at(self) -> str | None:
        """When it was last used (RFC 3339, UTC)."""
        return self._async.last_active_at

    @property
    def sessions(self) -> tuple[models.Session, ...] | None:
        """Its sessions, when it was last asked for."""
        return self._async.sessions

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...] | None:
        """Its tunnels, when it was last asked for."""
        return self._async.tunnels


__all__ = ["VmFields"]
