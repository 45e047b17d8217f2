"""VMs: fork, find, list and delete them. A part of `AsyncArker`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import arker
from arker import models
from arker._basics import names
from arker._client.base import ClientBase
from arker._protocol.calls import vms as vm_calls
from arker._protocol.pages import Pages, next_cursor
from arker._protocol.request import Address
from arker.errors import InvalidArgumentError
from arker.models import _checks as check

logger = logging.getLogger("arker")


class Vms(ClientBase):
    """The calls of `AsyncArker` on VMs."""

    def vm(self, vm_id: str) -> arker.AsyncVM:
        """A handle on a VM by its id, without asking the server: its fields are None until ``refresh``.

        Args:
            vm_id: The VM's id. Servers take a public golden's or an own VM's name as well.
        """
        name = check.check_id("vm_id", vm_id)
        return arker.AsyncVM(self._place(self._context.settings.vm_base_url(name), name))

    async def get_vm(self, vm_id: str, *, deadline: float | None = None) -> arker.AsyncVM:
        """A handle on a VM by its id, with its fields read.

        Args:
            vm_id: The VM's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such VM.
        """
        name = check.check_id("vm_id", vm_id)
        base_url = self._context.settings.vm_base_url(name)
        data = await self._context.send(vm_calls.get_vm(Address(base_url, name)), deadline=deadline)
        return arker.AsyncVM(self._place(base_url, data.vm_id), data)

    async def fork(
        self,
        source: str | arker.AsyncVM | None = None,
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
    ) -> arker.AsyncVM:
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
        from arker.vm import fork  # brings handles along, which importing the client is not to wait for

        given = [value for value in (source, source_vm_id, source_vm_name) if value is not None]
        if len(given) != 1:
            raise InvalidArgumentError(
                "source", source, f"expected exactly one of source, source_vm_id and source_vm_name, got {len(given)}"
            )
        if isinstance(source, arker.AsyncVM):
            source_vm_id = source.id
        elif source is not None:
            source_vm_name = check.check_text("source", source, what="a VM's name or an AsyncVM")
        if source_org_id is None and source_vm_name in names.GOLDEN_NAMES:
            source_org_id = names.ARKER_ORG_ID  # here already, since changing a request takes as long as making it
        request = models.ForkRequest(
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
        )
        return await fork(self._context, request, idempotency_key=idempotency_key, deadline=deadline)

    async def list_vms(
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
        parameters = {
            "cursor": check.query_text("cursor", cursor),
            "limit": check.query_limit(limit),
            "region": check.query_text("region", region),
            "provider": check.query_text("provider", provider),
            "state": check.query_list("state", state),
            "source_org_id": check.query_text("source_org_id", source_org_id),
            "started_after": check.query_text("started_after", started_after),
            "started_before": check.query_text("started_before", started_before),
        }
        return await self._context.send(
            vm_calls.list_vms(self._context.settings.control_base_url, parameters), deadline=deadline
        )

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
    ) -> AsyncIterator[arker.AsyncVM]:
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
        size = check.page_size(page_size)

        async def page(cursor: str | None) -> tuple[tuple[arker.AsyncVM, ...], str | None]:
            found = await self.list_vms(
                cursor=cursor,
                limit=size,
                region=region,
                provider=provider,
                state=state,
                source_org_id=source_org_id,
                started_after=started_after,
                started_before=started_before,
                deadline=deadline,
            )
            base_url = self._context.settings.vm_base_url
            vms = tuple([arker.AsyncVM(self._place(base_url(vm.vm_id), vm.vm_id), vm) for vm in found.vms if vm.vm_id])
            if len(vms) < len(found.vms):
                # No handle can be made of it, and it must not cost the others.
                logger.warning("%d VMs of the list name no id, and are left out", len(found.vms) - len(vms))
            return vms, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))


__all__ = ["Vms"]
