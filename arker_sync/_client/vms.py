# Generated from arker/_client/vms.py by "nox -s facade": change that file, not this one.
"""VMs: fork, find, list and delete them. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import arker_sync
from arker import models
from arker_sync._bridge.facade import twin
from arker_sync._client.base import ClientBase


class Vms(ClientBase):
    """The calls of `Arker` on VMs."""

    def vm(self, vm_id: str) -> arker_sync.VM:
        """A handle on a VM by its id, without asking the server: its fields are None until ``refresh``.

        Args:
            vm_id: The VM's id. Servers take a public golden's or an own VM's name as well.
        """
        value = self._async.vm(vm_id)
        return arker_sync.VM(value, self._lease)

    def get_vm(self, vm_id: str, *, deadline: float | None = None) -> arker_sync.VM:
        """A handle on a VM by its id, with its fields read.

        Args:
            vm_id: The VM's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such VM.
        """
        work = self._async.get_vm(vm_id, deadline=deadline)
        return arker_sync.VM(self._lease.call(work), self._lease)

    def fork(
        self,
        source: str | arker_sync.VM | None = None,
        *,
        source_vm_id: str | None = None,
        source_vm_name: str | None = None,
        source_org_id: str | None = None,
        name: str | None = None,
        public: bool | None = None,
        network: models.NetworkPolicyInput | None = None,
        disk: bool | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        max_memory_mib: int | None = None,
        disk_mib: int | None = None,
        durable: bool | None = None,
        tunnel: models.TunnelRequest | Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> arker_sync.VM:
        """A new VM: a public golden, or a copy of another VM with its files as of this moment (contract, section 5).

        Args:
            source: The name of a public golden or of an own VM, or a handle. This, ``source_vm_id`` or
                ``source_vm_name``: exactly one.
            source_vm_id: The VM to fork, by id.
            source_vm_name: The VM to fork, by name; the same as a string as ``source``.
            source_org_id: The organisation that the source belongs to; goldens need none, own VMs neither.
            name: The new VM's name, unique in the organisation.
            public: Whether other organisations may fork it.
            network: True (open), False (blocked), a policy, or one as a mapping.
            disk: Whether it has a disk of its own; the server decides unless it is given.
            vcpu_count: CPUs.
            memory_mib: Memory, in MiB.
            max_memory_mib: Upper bound on its memory, in MiB.
            disk_mib: Disk, in MiB.
            durable: Whether its runs are taken up again when the host fails.
            tunnel: A tunnel to open along with it: ``{"ports": [8080]}``.
            idempotency_key: The same key with the same request answers with the original VM instead of forking again;
                one is made for each call unless given.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            InvalidArgumentError: Not exactly one source, or a value that cannot be right.
            NotFoundError: There is no such source (that this organisation may fork).
            ConflictError: The name is taken, or the idempotency key belongs to a different request.
            UnsupportedOperationError: The server cannot fork this source like this.
        """
        work = self._async.fork(
            twin(source),
            source_vm_id=source_vm_id,
            source_vm_name=source_vm_name,
            source_org_id=source_org_id,
            name=name,
            public=public,
            network=network,
            disk=disk,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            max_memory_mib=max_memory_mib,
            disk_mib=disk_mib,
            durable=durable,
            tunnel=tunnel,
            idempotency_key=idempotency_key,
            deadline=deadline,
        )
        return arker_sync.VM(self._lease.call(work, undo=lambda made: made.delete()), self._lease)

    def list_vms(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        region: str | None = None,
        provider: models.Provider | str | None = None,
        state: models.VmState | str | Sequence[models.VmState | str] | None = None,
        source_org_id: str | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        deadline: float | None = None,
    ) -> models.ListVmsResponse:
        """A page of the organisation's VMs, newest first.

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: VMs on the page; the server takes 50 unless told, and at most 1,000.
            region: Only VMs of this region.
            provider: Only VMs of this provider.
            state: Only VMs in this state, or in one of these.
            source_org_id: Only VMs whose source belongs to this organisation.
            started_after: Only VMs started after this moment (RFC 3339).
            started_before: Only VMs started before this moment (RFC 3339).
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
        """
        work = self._async.list_vms(
            cursor=cursor,
            limit=limit,
            region=region,
            provider=provider,
            state=state,
            source_org_id=source_org_id,
            started_after=started_after,
            started_before=started_before,
            deadline=deadline,
        )
        return self._lease.call(work)

    def iter_vms(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        region: str | None = None,
        provider: models.Provider | str | None = None,
        state: models.VmState | str | Sequence[models.VmState | str] | None = None,
        source_org_id: str | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        deadline: float | None = None,
    ) -> Iterator[arker_sync.VM]:
        """Handles on the organisation's VMs, newest first; each page is asked for when it is needed.

        A handle has every field of the list's `Vm`, as ``vm.data``, and can be worked with. The list is that of all
        regions, while a handle goes to this client's base URLs: take ``region=`` and ``provider=`` to get VMs that are
        to be worked with, where the organisation has others.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: VMs to ask for at once; the server takes 50 unless told, and at most 1,000.
            region: Only VMs of this region.
            provider: Only VMs of this provider.
            state: Only VMs in this state, or in one of these.
            source_org_id: Only VMs whose source belongs to this organisation.
            started_after: Only VMs started after this moment (RFC 3339).
            started_before: Only VMs started before this moment (RFC 3339).
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_vms(
            cursor=cursor,
            page_size=page_size,
            region=region,
            provider=provider,
            state=state,
            source_org_id=source_org_id,
            started_after=started_after,
            started_before=started_before,
            deadline=deadline,
        )
        return self._lease.iterate(iterator, lambda item: arker_sync.VM(item, self._lease))


__all__ = ["Vms"]
