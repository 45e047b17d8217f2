"""Fleets. A part of `AsyncArker`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import arker
from arker import _fleets, models
from arker._basics import names
from arker._client.base import ClientBase
from arker.errors import InvalidArgumentError
from arker.models import _checks as check


class Fleets(ClientBase):
    """The fleet methods of `AsyncArker`."""

    def fork_many(
        self,
        source: str | arker.AsyncVM | None,
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
    ) -> arker.AsyncFleet:
        """Return a fleet: many VMs that its ``async with`` block forks at the start and deletes at the end.

            async with ar.fork_many("ubuntu", 200) as fleet:
                for outcome in await fleet.run("echo hi"):
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
        source_vm_id = source_vm_name = None
        if (source is None) == (image is None):
            raise InvalidArgumentError("source", source, "expected exactly one of source and image")
        if isinstance(source, arker.AsyncVM):
            source_vm_id = source.id
        elif source is not None:
            source_vm_name = check.check_text("source", source, what="a VM's name or a handle on a VM")
        source_org_id = names.organisation_of(source_vm_name, source_org_id)  # here, not by each of hundreds of forks
        check.check_integer("count", count, minimum=1)
        if max_concurrency is None:
            max_concurrency = self._context.settings.max_connections
        if at_least is None:
            at_least = count
        elif check.check_integer("at_least", at_least, minimum=1) > count:
            raise InvalidArgumentError("at_least", at_least, f"expected at most count, which is {count}")
        if name_prefix is not None:
            check.check_text("name_prefix", name_prefix, what="what names begin with")
        if deadline is not None:
            check.check_seconds("deadline", deadline)
        check.check_function("progress", progress)
        plan = _fleets.plan.Plan(
            request=models.ForkRequest(
                source_vm_id=source_vm_id,
                source_vm_name=source_vm_name,
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
            ),
            count=count,
            at_least=at_least,
            max_concurrency=check.check_integer("max_concurrency", max_concurrency, minimum=1),
            name_prefix=name_prefix,
            replace=check.check_boolean("replace", replace),
            ttl=None if ttl is None else check.check_seconds("ttl", ttl),
            deadline=deadline,
            progress=progress,
        )
        return arker.AsyncFleet(self._context, plan)


__all__ = ["Fleets"]
