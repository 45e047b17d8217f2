"""VMs: forking, finding and listing them. A part of `AsyncArker`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import arker
from arker import _calls, _routes, models
from arker._client_resources import ClientResources
from arker.errors import InvalidArgumentError
from arker.models import _checks as check

# Handles are imported by the calls that give them: with all that they can do, they are most of this package.


class ClientVms(ClientResources):
    """The calls of `AsyncArker` on VMs."""

    def vm(self, vm_id: str) -> arker.AsyncVM:
        """A handle on a VM by its id, without asking the server: its fields are None until ``refresh``.

        Args:
            vm_id: The VM's id. Servers take a public golden's or an own VM's name as well.
        """
        from arker.vm import AsyncVM

        name = check.check_id("vm_id", vm_id)
        return AsyncVM(self._transport, name, self._transport.settings.vm_base_url(name))

    async def get_vm(self, vm_id: str, *, deadline: float | None = None) -> arker.AsyncVM:
        """A handle on a VM by its id, with its fields read.

        Args:
            vm_id: The VM's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such VM.
        """
        from arker.vm import AsyncVM

        name = check.check_id("vm_id", vm_id)
        base_url = self._transport.settings.vm_base_url(name)
        data = await self._transport.send(_calls.get_vm(base_url, name), deadline=deadline)
        return AsyncVM(self._transport, data.vm_id, base_url, data)

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
        from arker.vm import AsyncVM, fork

        given = [value for value in (source, source_vm_id, source_vm_name) if value is not None]
        if len(given) != 1:
            raise InvalidArgumentError(
                "source", source, f"expected exactly one of source, source_vm_id and source_vm_name, got {len(given)}"
            )
        if isinstance(source, AsyncVM):
            source_vm_id = source.id
        elif source is not None:
            source_vm_name = check.check_text("source", source, what="a VM's name or a handle on a VM")
        if source_org_id is None and source_vm_name in _routes.GOLDEN_NAMES:
            source_org_id = _routes.ARKER_ORG_ID  # here already, since changing a request takes as long as making it
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
        return await fork(self._transport, request, idempotency_key=idempotency_key, deadline=deadline)

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
        return await self._transport.send(
            _calls.list_vms(self._transport.settings.control_base_url, parameters), deadline=deadline
        )


__all__ = ["ClientVms"]
