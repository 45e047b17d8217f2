# Generated from arker/_client/fleets.py by "nox -s facade": change that file, not this one.
"""Fleets. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import arker
import arker_sync
from arker import models
from arker_sync import _bridge
from arker_sync._bridge.facade import twin
from arker_sync._client.base import ClientBase


class Fleets(ClientBase):
    """The fleet methods of `Arker`."""

    def fork_many(
        self,
        source: str | arker_sync.VM | None,
        count: int,
        *,
        max_concurrency: int | None = None,
        at_least: int | None = None,
        replace: bool = True,
        name_prefix: str | None = None,
        source_org_id: str | None = None,
        public: bool | None = None,
        network: models.NetworkPolicyInput | None = None,
        disk: bool | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        max_memory_mib: int | None = None,
        disk_mib: int | None = None,
        durable: bool | None = None,
        tunnel: models.TunnelRequest | Mapping[str, Any] | None = None,
        image: str | None = None,
        description: str | None = None,
        queueing_timeout: float | None = None,
        layers: Sequence[models.Layer] | None = None,
        command: str | Sequence[str] | None = None,
        platforms: Sequence[str] | None = None,
        policies: models.PolicyInput | None = None,
        ssh_public_keys: models.SshKeys | None = None,
        vgpu: float | None = None,
        pool_id: str | None = None,
        pool_name: str | None = None,
        ttl: float | None = None,
        progress: Callable[[arker.FleetProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker_sync.Fleet:
        """Return a fleet: many VMs that its ``with`` block forks at the start and deletes at the end.

            with ar.fork_many("ubuntu", 200) as fleet:
                for outcome in fleet.run("echo hi"):
                    print(outcome.unwrap().stdout_text)

        If fewer than ``at_least`` VMs can be forked, the forked ones are deleted, and entering the block raises
        `FleetError`, which carries the error of each fork, or `DeadlineExceededError`.

        Args:
            source: The name of a public golden or of the organisation's own VM, or a handle on the VM to fork; None
                with ``image``.
            count: Number of VMs.
            max_concurrency: Maximum number of VMs to fork or delete at once; by default the client's number of
                connections.
            at_least: Minimum number of VMs that must be forked; by default all.
            replace: Whether to replace a VM that has died by a new fork of the source in its current state.
            name_prefix: Prefix of the VMs' names in the organisation, followed by ``-0``, ``-1`` and so on; by default
                the VMs have no names.
            source_org_id: The organisation that owns the source; not needed for goldens and the organisation's own VMs.
            public: Whether other organisations may fork the VMs.
            network: True (open), False (blocked), a policy, or a policy as a mapping.
            disk: Whether each VM has its own disk; by default the server decides.
            vcpu_count: Number of CPUs of each VM, 255 at most.
            memory_mib: Memory of each VM, in MiB.
            max_memory_mib: Maximum memory of each VM, in MiB.
            disk_mib: Disk of each VM, in MiB.
            durable: Whether the VMs' runs are resumed after a host failure.
            tunnel: A tunnel to open for each VM: ``{"ports": [8080]}``.
            image: A container image to make each VM of instead of forking one; see `fork`.
            description: The VMs' description.
            queueing_timeout: Seconds to wait for capacity for each VM; see `fork`.
            layers: What is copied: ``["disk"]`` or ``["disk", "memory"]``; see `fork`.
            command: A command that is started in the background in each VM's default session.
            platforms: Ids of the platforms that the VMs may run on.
            policies: Changes of the source's policy, by rules: a `PolicyUpdate`, or a mapping with its fields. They say
                more than ``network`` does, and cannot be given together with it.
            ssh_public_keys: The keys with which the VMs are reachable by SSH, by ids of the caller's choice.
            vgpu: GPUs of each VM: 0 to 1 in eighths, or 2, 4 or 8.
            pool_id: The pool to fork into, by id.
            pool_name: The pool to fork into, by name.
            ttl: Seconds after which each VM is deleted, if it still exists, counted from its fork; see `fork`. In a
                fleet it then counts as a VM that has died.
            progress: Called with a `FleetProgress` as VMs are forked and deleted.
            deadline: Seconds for all forks; forks that take longer are abandoned and count as failed. None for no
                limit.

        Raises:
            InvalidArgumentError: A value is invalid.
        """
        value = self._async.fork_many(
            twin(source),
            count,
            max_concurrency=max_concurrency,
            at_least=at_least,
            replace=replace,
            name_prefix=name_prefix,
            source_org_id=source_org_id,
            public=public,
            network=network,
            disk=disk,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            max_memory_mib=max_memory_mib,
            disk_mib=disk_mib,
            durable=durable,
            tunnel=tunnel,
            image=image,
            description=description,
            queueing_timeout=queueing_timeout,
            layers=layers,
            command=command,
            platforms=platforms,
            policies=policies,
            ssh_public_keys=ssh_public_keys,
            vgpu=vgpu,
            pool_id=pool_id,
            pool_name=pool_name,
            ttl=ttl,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return arker_sync.Fleet(value, self._lease)


__all__ = ["Fleets"]
