# Generated from arker/_vm/base.py by "nox -s facade": change that file, not this one.
"""The base of the parts of `VM`: the VM's place and every field of `Vm`, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

    @property
    def description(self) -> str | None:
        """The VM's description."""
        return self._async.description

    @property
    def hostname(self) -> str | None:
        """The name at which the VM's services are reached; see `Vm`."""
        return self._async.hostname

    @property
    def immutable(self) -> bool | None:
        """Whether the VM can no longer be changed, only forked."""
        return self._async.immutable

    @property
    def resources(self) -> models.VmResources | None:
        """The VM's resources as generation 1 of the API reports them."""
        return self._async.resources

    @property
    def policies(self) -> Mapping[str, Any] | None:
        """The VM's network policy as generation 1 of the API writes it, unchanged."""
        return self._async.policies

    @property
    def ssh_public_keys(self) -> tuple[models.SshPublicKey, ...] | None:
        """The keys with which the VM is reachable by SSH."""
        return self._async.ssh_public_keys

    @property
    def min_vcpus(self) -> int | None:
        """The minimum number of CPUs."""
        return self._async.min_vcpus

    @property
    def min_disk_mib(self) -> int | None:
        """The minimum disk size in MiB."""
        return self._async.min_disk_mib

    @property
    def max_disk_mib(self) -> int | None:
        """The maximum disk size in MiB."""
        return self._async.max_disk_mib

    @property
    def gpu_platforms(self) -> tuple[models.GpuPlatformLimits, ...] | None:
        """What the VM can have of the GPUs of its platforms."""
        return self._async.gpu_platforms

    @property
    def platform(self) -> str | None:
        """The platform that the VM runs on."""
        return self._async.platform

    @property
    def compatible_platforms(self) -> tuple[models.CompatiblePlatform, ...] | None:
        """The platforms that the VM can be forked on."""
        return self._async.compatible_platforms

    @property
    def pool_id(self) -> str | None:
        """The pool that the VM belongs to."""
        return self._async.pool_id


__all__ = ["VmBase"]
