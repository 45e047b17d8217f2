# Generated from arker/_client/fleets.py by "nox -s facade": change that file, not this one.
"""Fleets. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import arker
import arker_sync
from arker import models
from arker_sync import _bridge
from arker_sync._bridge.facade import twin
from arker_sync._client.base import ClientBase


class Fleets(ClientBase):
    """The calls of `Arker` on fleets."""

    def fork_many(
        self,
        source: str | arker_sync.VM,
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
        progress: Callable[[arker.FleetProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker_sync.Fleet:
        """A fleet: many VMs that are forked when its ``with`` block is entered, and deleted when it is left.

            with ar.fork_many("ubuntu", 200) as fleet:
                for outcome in fleet.run("echo hi"):
                    print(outcome.unwrap().stdout_text)

        When fewer than ``at_least`` can be forked, there is none: those that were forked are deleted, and entering the
        block raises `FleetError`, which carries what each failed with, or `DeadlineExceededError`.

        Args:
            source: The name of a public golden or of an own VM, or a handle on the VM to fork.
            count: How many VMs.
            max_concurrency: How many are forked, or deleted, at once; by default as many as the client has connections.
            at_least: With how many VMs the fleet makes do when forks fail; by default all of them are needed.
            replace: Whether a VM that has died is replaced by a new fork of the source, as the source is then.
            name_prefix: The VMs' names in the organisation are this with ``-0``, ``-1`` and so on; by default they have
                none.
            source_org_id: The organisation that the source belongs to; goldens need none, own VMs neither.
            public: Whether other organisations may fork them.
            network: True (open), False (blocked), a policy, or one as a mapping.
            disk: Whether each has a disk of its own; the server decides unless it is given.
            vcpu_count: CPUs of each.
            memory_mib: Memory of each, in MiB.
            max_memory_mib: Upper bound on the memory of each, in MiB.
            disk_mib: Disk of each, in MiB.
            durable: Whether their runs are taken up again when the host fails.
            tunnel: A tunnel to open along with each: ``{"ports": [8080]}``.
            progress: Called with a `FleetProgress` as VMs are forked, and as they are deleted.
            deadline: Seconds for forking them all; forks that take longer are given up and count as failed. None for no
                bound.

        Raises:
            InvalidArgumentError: A value that cannot be right.
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
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return arker_sync.Fleet(value, self._lease)


__all__ = ["Fleets"]
