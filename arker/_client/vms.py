"""VMs: fork, find, list and delete them. A part of `AsyncArker`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import arker
from arker import models
from arker._basics import names
from arker._client.base import ClientBase
from arker._protocol import calls
from arker._protocol.address import Address
from arker._protocol.pages import Pages, next_cursor
from arker.errors import InvalidArgumentError, NotFoundError
from arker.models import _checks as check
from arker.pending import pending

logger = logging.getLogger("arker")

_NOTHING: Final = {type(None)}
_NAMES: Final = {str, type(None)}
_OPTIONS: Final = (
    "source_vm_id",
    "name",
    "public",
    "network",
    "disk",
    "vcpu_count",
    "memory_mib",
    "max_memory_mib",
    "disk_mib",
    "durable",
    "tunnel",
    "image",
    "description",
    "queueing_timeout",
    "layers",
    "command",
    "platforms",
    "source_org_name",
    "registry_auth",
    "nestedvirt",
    "policies",
    "ssh_public_keys",
    "vgpu",
    "pool_id",
    "pool_name",
)
"""What a fork may be given beside its source's name."""


@lru_cache(maxsize=64)
def _plain(source_vm_name: str | None, source_org_id: str | None) -> models.ForkRequest:
    """Return the request of a fork without options: hundreds of VMs at once are mostly forked from one source."""
    return models.ForkRequest(source_vm_name=source_vm_name, source_org_id=source_org_id)


class Vms(ClientBase):
    """The VM methods of `AsyncArker`."""

    def vm(self, vm_id: str) -> arker.AsyncVM:
        """Return a handle on a VM by its id without a request. Its fields are None until ``refresh``.

        Args:
            vm_id: The VM's id. Servers also accept the name of a public golden or of the organisation's own VM.
        """
        name = check.check_id("vm_id", vm_id)
        return arker.AsyncVM(self._place(self._context.settings.vm_base_url(name), name))

    @pending
    async def get_vm(self, vm_id: str, *, deadline: float | None = None) -> arker.AsyncVM:
        """Read a VM by its id or name and return a handle on it.

        Only the client's own region is asked; `find_vm` finds VMs of all regions.

        Args:
            vm_id: The VM's id, or the name of a public golden or of the organisation's own VM.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such VM.
        """
        name = check.check_id("vm_id", vm_id)
        base_url = self._context.settings.vm_base_url(name)
        data = await self._context.send(calls.vms.get_vm(Address(base_url, name)), deadline=deadline)
        if data.resources is not None:
            self._context.generations.learn(base_url, "1")
        return arker.AsyncVM(self._place(base_url, data.vm_id), data)

    @pending
    async def find_vm(self, name: str, *, deadline: float | None = None) -> arker.AsyncVM:
        """Return a handle on a VM by its name or id, in whatever region it is.

        The client's own region is asked first. If there is no such VM, or no region is set, the organisation's list is
        looked through, whose handles reach VMs in their own regions. A client with a base URL asks only there.

        Args:
            name: The name or the id of a VM of the organisation, or the name of a public golden.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such VM in any region.
        """
        from arker._transport.attempts import Progress, deadline_scope  # only calls need it

        wanted = check.check_id("name", name)
        settings = self._context.settings
        refusals: list[NotFoundError] = []  # taken out when it is raised: its traceback has this frame
        with deadline_scope(deadline, Progress("find_vm")):
            if settings.base_url is not None:
                try:
                    return await self.get_vm(wanted)
                except NotFoundError as error:
                    if not settings.is_placed:
                        raise
                    refusals.append(error)
            async for vm in self.iter_vms(page_size=1000):
                if wanted in (vm.id, vm.name):
                    return vm
        if refusals:
            raise refusals.pop()
        raise NotFoundError(f"there is no VM {wanted!r} in any region", operation="find_vm")

    @pending
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
        image: str | None = None,
        description: str | None = None,
        queueing_timeout: float | None = None,
        layers: Sequence[models.Layer] | None = None,
        command: str | Sequence[str] | None = None,
        platforms: Sequence[str] | None = None,
        source_org_name: str | None = None,
        registry_auth: models.RegistryAuth | Mapping[str, str] | None = None,
        nestedvirt: bool | None = None,
        policies: models.PolicyInput | None = None,
        ssh_public_keys: models.SshKeys | None = None,
        vgpu: float | None = None,
        pool_id: str | None = None,
        pool_name: str | None = None,
        ttl: float | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncVM:
        """Fork a VM: create a VM from a public golden, or with a copy of another VM's files (contract, section 5).

        The arguments from ``image`` to ``pool_name`` are those of generation 1 of the API. Of the others, generation 1
        has neither ``max_memory_mib`` nor ``tunnel``, and takes ``source_org_id`` only beside a name.

        Args:
            source: The name of a public golden or of the organisation's own VM, or a handle. Exactly one of ``source``,
                ``source_vm_id``, ``source_vm_name`` and ``image`` is required.
            source_vm_id: The VM to fork, by id.
            source_vm_name: The VM to fork, by name; the same as a string as ``source``.
            source_org_id: The organisation that owns the source; not needed for goldens and the organisation's own VMs.
            name: The new VM's name, unique in the organisation.
            public: Whether other organisations may fork the new VM.
            network: True (open), False (blocked), a policy, or a policy as a mapping.
            disk: Whether the VM has its own disk; by default the server decides.
            vcpu_count: Number of CPUs, 255 at most.
            memory_mib: Memory, in MiB.
            max_memory_mib: Maximum memory, in MiB.
            disk_mib: Disk, in MiB.
            durable: Whether the VM's runs are resumed after a host failure.
            tunnel: A tunnel to open for the VM: ``{"ports": [8080]}``.
            image: A container image to make the VM of instead of forking one, such as ``python:3.12``: its environment,
                user and working directory apply, its command is not started.
            description: The new VM's description, up to 1,024 characters.
            queueing_timeout: Seconds for which server and client wait for capacity together; 0 to fail at once. The
                request is repeated within that time, however many attempts the retry policy allows.
            layers: What is copied: ``["disk"]`` (the files), or ``["disk", "memory"]`` (processes go on in the copy).
                By default the server decides: a server of generation 1 copies both if it can.
            command: A command that is started in the background in the new VM's default session.
            platforms: Ids of the platforms that the new VM may run on; empty for any.
            source_org_name: The name of the organisation that owns the source, instead of ``source_org_id``.
            registry_auth: The credentials for the registry of ``image``, ``{"username": …, "password": …}``. They are
                never written down, so a fork with them that had no answer cannot be repeated by `AsyncArker.reap`.
            nestedvirt: Whether the VM of ``image`` can run VMs itself.
            policies: Changes of the source's policy, by rules: a `PolicyUpdate`, or a mapping with its fields. They say
                more than ``network`` does, and cannot be given together with it.
            ssh_public_keys: The keys with which the new VM is reachable by SSH, by ids of the caller's choice.
            vgpu: GPUs of the new VM: 0 to 1 in eighths, or 2, 4 or 8.
            pool_id: The pool to fork into, by id.
            pool_name: The pool to fork into, by name.
            ttl: Seconds after which the new VM is deleted, if it still exists: by this client while it is open, and
                otherwise by `AsyncArker.reap`, which leaves it alone until then. `AsyncVM.keep_alive` sets another
                time. The server does not know of it.
            idempotency_key: A repeated request with the same key returns the original VM instead of forking again; by
                default generated for each call.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            InvalidArgumentError: There is not exactly one source, or a value is invalid.
            NotFoundError: There is no such source (that this organisation may fork).
            ConflictError: The name is taken, or the idempotency key belongs to a different request.
            UnsupportedOperationError: The server cannot fork this source with these arguments, or its generation of the
                API does not have one of them.
            ResourcePressureError: There is no capacity for the VM.
        """
        from arker.vm import fork  # loads the handles, which would make importing the client slow

        given = [value for value in (source, source_vm_id, source_vm_name, image) if value is not None]
        if len(given) != 1:
            expected = f"expected exactly one of source, source_vm_id, source_vm_name and image, got {len(given)}"
            raise InvalidArgumentError("source", source, expected)
        if isinstance(source, arker.AsyncVM):
            source_vm_id = source.id
        elif source is not None:
            source_vm_name = check.check_text("source", source, what="a VM's name or a handle on a VM")
        # Here, because changing a request takes as long as creating it.
        source_org_id = names.organisation_of(source_vm_name, source_org_id, source_org_name)
        options = (
            source_vm_id,
            name,
            public,
            network,
            disk,
            vcpu_count,
            memory_mib,
            max_memory_mib,
            disk_mib,
            durable,
            tunnel,
            image,
            description,
            queueing_timeout,
            layers,
            command,
            platforms,
            source_org_name,
            registry_auth,
            nestedvirt,
            policies,
            ssh_public_keys,
            vgpu,
            pool_id,
            pool_name,
        )
        if set(map(type, options)) == _NOTHING and {type(source_vm_name), type(source_org_id)} <= _NAMES:
            request = _plain(source_vm_name, source_org_id)
        else:
            rest: dict[str, Any] = dict(zip(_OPTIONS, options, strict=True))
            request = models.ForkRequest(source_vm_name=source_vm_name, source_org_id=source_org_id, **rest)
        return await fork(self._context, request, ttl=ttl, idempotency_key=idempotency_key, deadline=deadline)

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
        org_id: str | None = None,
        public: bool | None = None,
        platform: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        pool_id: str | None = None,
        deadline: float | None = None,
    ) -> models.ListVmsResponse:
        """List one page of the organisation's VMs, newest first.

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of VMs on the page; the server's default is 50, its maximum 1,000.
            region: Only VMs of this region.
            provider: Only VMs of this provider.
            state: Only VMs in this state or in one of these states.
            source_org_id: Only VMs whose source belongs to this organisation.
            started_after: Only VMs started after this time (RFC 3339).
            started_before: Only VMs started before this time (RFC 3339).
            org_id: Only VMs of this organisation; ``ARKER_ORG_ID`` with ``public=True`` lists the public goldens.
            public: Only VMs that are public, or only those that are not.
            platform: Only VMs on this platform.
            created_after: Only VMs created after this time (RFC 3339).
            created_before: Only VMs created before this time (RFC 3339).
            pool_id: Only VMs of this pool.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
            UnsupportedOperationError: The server's generation of the API lacks a filter: 0.5 has none from ``org_id``
                on, and 1 has neither ``source_org_id`` nor ``started_after`` and ``started_before``.
        """
        query = calls.vms.VmsQuery(
            cursor=cursor,
            limit=limit,
            region=region,
            provider=provider,
            state=state,
            source_org_id=source_org_id,
            started_after=started_after,
            started_before=started_before,
            org_id=org_id,
            public=public,
            platform=platform,
            created_after=created_after,
            created_before=created_before,
            pool_id=pool_id,
        )
        call = calls.vms.list_vms(self._context.settings.control_base_url, query)
        found = await self._context.send(call, deadline=deadline)
        if call.lack is not None and found and all(vm.resources is None for vm in found):
            await self._context.generations.confirm(call)  # such a server ignores filters that it does not know
        return found

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
        org_id: str | None = None,
        public: bool | None = None,
        platform: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        pool_id: str | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncItems[arker.AsyncVM]:
        """Iterate over handles on the organisation's VMs, newest first. Pages are fetched on demand.

        Each handle has every field of the list's `Vm`, also as ``vm.data``. The list covers all regions, and a handle
        reaches its VM at the base URL of the VM's own provider and region. If the client was made with a base URL,
        all handles use that: pass ``region=`` and ``provider=`` to get only VMs that are there.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of VMs per page; the server's default is 50, its maximum 1,000.
            region: Only VMs of this region.
            provider: Only VMs of this provider.
            state: Only VMs in this state or in one of these states.
            source_org_id: Only VMs whose source belongs to this organisation.
            started_after: Only VMs started after this time (RFC 3339).
            started_before: Only VMs started before this time (RFC 3339).
            org_id: Only VMs of this organisation; ``ARKER_ORG_ID`` with ``public=True`` lists the public goldens.
            public: Only VMs that are public, or only those that are not.
            platform: Only VMs on this platform.
            created_after: Only VMs created after this time (RFC 3339).
            created_before: Only VMs created before this time (RFC 3339).
            pool_id: Only VMs of this pool.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
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
                org_id=org_id,
                public=public,
                platform=platform,
                created_after=created_after,
                created_before=created_before,
                pool_id=pool_id,
                deadline=deadline,
            )
            base_url = self._context.settings.listed_base_url
            vms = tuple([arker.AsyncVM(self._place(base_url(vm), vm.vm_id), vm) for vm in found.vms if vm.vm_id])
            if len(vms) < len(found.vms):
                # A VM without an id has no handle, and must not end the iteration.
                logger.warning("%d VMs of the list name no id, and are left out", len(found.vms) - len(vms))
            return vms, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))


__all__ = ["Vms"]
