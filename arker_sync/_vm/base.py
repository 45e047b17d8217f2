# Generated from arker/_vm/base.py by "nox -s facade": change that file, not this one.
"""The base of the parts of `VM`: the VM's place and every field of `Vm`, without any I/O."""

from __future__ import annotations

import arker
from arker import models
from arker_sync._bridge.facade import Facade


class VmBase(Facade):
    """A VM's fields at the last read, an attribute for each field of `Vm`; None before the first read."""

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
        """All fields as one value; None before the first read."""
        return self._async.data

    @property
    def vm_id(self) -> str:
        """The VM's id, or the name that the handle was made from."""
        return self._async.vm_id

    @property
    def owner_org_id(self) -> str | None:
        """The organisation that owns the VM."""
        return self._async.owner_org_id

    @property
    def created_at(self) -> str | None:
        """The time of the fork (RFC 3339, UTC)."""
        return self._async.created_at

    @property
    def name(self) -> str | None:
        """The VM's name in the organisation."""
        return self._async.name

    @property
    def public(self) -> bool | None:
        """Whether other organisations may fork the VM."""
        return self._async.public

    @property
    def root_source_vm_id(self) -> str | None:
        """The id of the VM's first ancestor; None for a VM forked directly from an image."""
        return self._async.root_source_vm_id

    @property
    def root_source_vm_name(self) -> str | None:
        """The name of the VM's first ancestor."""
        return self._async.root_source_vm_name

    @property
    def state(self) -> models.VmState | str | None:
        """The VM's state at the last read: ``idle`` or ``running``."""
        return self._async.state

    @property
    def region(self) -> str | None:
        """The VM's region."""
        return self._async.region

    @property
    def provider(self) -> models.Provider | str | None:
        """The VM's provider: ``aws`` or ``aws-burst``."""
        return self._async.provider

    @property
    def started_at(self) -> str | None:
        """The time of the start (RFC 3339, UTC)."""
        return self._async.started_at

    @property
    def vcpu_count(self) -> int | None:
        """The number of CPUs."""
        return self._async.vcpu_count

    @property
    def memory_mib(self) -> int | None:
        """The memory size in MiB."""
        return self._async.memory_mib

    @property
    def disk_mib(self) -> int | None:
        """The disk size in MiB."""
        return self._async.disk_mib

    @property
    def network(self) -> models.NetworkPolicy | None:
        """The network policy: which hosts the VM may reach."""
        return self._async.network

    @property
    def max_vcpus(self) -> int | None:
        """The maximum number of CPUs."""
        return self._async.max_vcpus

    @property
    def max_memory_mib(self) -> int | None:
        """The maximum memory size in MiB."""
        return self._async.max_memory_mib

    @property
    def min_memory_mib(self) -> int | None:
        """The minimum memory size in MiB."""
        return self._async.min_memory_mib

    @property
    def worker_id(self) -> str | None:
        """The host that the VM is on."""
        return self._async.worker_id

    @property
    def last_active_at(self) -> str | None:
        """The time of the last use (RFC 3339, UTC)."""
        return self._async.last_active_at

    @property
    def sessions(self) -> tuple[models.Session, ...] | None:
        """The VM's sessions at the last read."""
        return self._async.sessions

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...] | None:
        """The VM's tunnels at the last read."""
        return self._async.tunnels


__all__ = ["VmBase"]
