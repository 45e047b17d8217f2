"""`AsyncVM`: a handle on one VM."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from arker import _lifecycle, models
from arker._basics.guidance import not_by_hand, whole
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._context import Context, Place
from arker._lifecycle.fork import Forking, delete, delete_or_raise, forget_end
from arker._protocol.calls import vms as vm_calls
from arker._protocol.identifiers import idempotency_key_or_new
from arker._tasks import hurry
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up
from arker._vm.directories import Directories
from arker._vm.files import Transfers
from arker._vm.filesystems import Filesystems
from arker._vm.run_records import RunRecords
from arker._vm.runs import Runs
from arker._vm.sessions import Sessions
from arker._vm.terminals import Terminals
from arker._vm.tunnels import Tunnels
from arker.errors import ArkerError, NotFoundError
from arker.models import _checks as check
from arker.pending import pending

logger = logging.getLogger("arker")


@whole
class AsyncVM(Runs, RunRecords, Sessions, Terminals, Tunnels, Filesystems, Transfers, Directories):
    """A handle on a VM: run commands in it, move files, fork it, delete it.

    The handle has no connection of its own and is usable as long as its client. Its attributes are the fields of `Vm`
    at the last read. As an async context manager it deletes the VM at the end of the block, also after an exception:

        async with ar.fork("ubuntu") as vm:
            result = await vm.run("echo hi", check=True)
            print(result.stdout_text)
    """

    __reduce__ = refuse_to_be_pickled

    def __init__(self, place: Place, data: models.Vm | None = None) -> None:
        """Initialize the handle. Use `AsyncArker.fork`, `AsyncArker.vm` or `AsyncArker.get_vm` to get one."""
        if not isinstance(place, Place):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise not_by_hand(type(self))
        super().__init__(place, data)
        self._kept = False

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name is not None else ""
        return shown(self._place.redact(f"<AsyncVM {self.id}{named} at {self.base_url}>"))

    # --- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._place.context.blocks.enter(self, lambda: f"VM {self.id}", self._leave_early, self._abandon)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._place.context.blocks.left(self):
            await clean_up(self._place.context.blocks.until_left(self), cut=False)
            return
        if self._kept:
            return
        # The deletion must also happen under cancellation, but must not block the caller indefinitely.
        await clean_up(self._leave(raising=exc is None))

    async def _leave_early(self) -> None:
        """Delete the VM because its client is being closed."""
        if not self._kept:
            await delete_or_raise(self._place, deadline=CLEANUP_SECONDS)

    def _abandon(self) -> None:
        """Leave the VM in the ledger, because it could not be deleted."""
        if not self._kept and self._place.context.ledger is not None:
            self._place.context.ledger.give_up(self.id, self.base_url)

    async def _leave(self, *, raising: bool) -> None:
        try:
            if not hurry.expired():
                await delete_or_raise(self._place, deadline=CLEANUP_SECONDS)
                return
        except ArkerError as error:
            if not hurry.asked():
                if raising:
                    raise
                logger.warning("VM %s could not be deleted and may still exist: %s", self.id, error)
                return
        except asyncio.CancelledError:
            if not hurry.asked():
                raise
        self._abandon()
        hurry.left_behind(f"VM {self._place.redact(self.id)}")

    @property
    def kept(self) -> bool:
        """Whether `keep` was called."""
        return self._kept

    def keep(self) -> None:
        """Keep the VM: its ``async with`` block, its fleet and `AsyncArker.reap` do not delete it.

        A time at which it was to be deleted (``ttl``, `keep_alive`) no longer counts.
        """
        self._kept = True
        forget_end(self._place.context, self.base_url, self.id)
        if self._place.context.ledger is not None:
            self._place.context.ledger.let_go(self.id, self.base_url, at_once=True)

    async def keep_alive(self, seconds: float) -> None:
        """Set the VM's end to some seconds from now, in place of the time that was set before.

        The client deletes it then, if it still exists and the client is open; otherwise `AsyncArker.reap` does, which
        leaves the VM alone until then, also if this program is killed. Without a ledger only the open client does. The
        VM's ``async with`` block deletes it at its end in any case, and `keep` takes the time back. The server does not
        know of it, and no request is sent. Returns when it is on record.

        Args:
            seconds: Seconds from now.
        """
        check.check_seconds("seconds", seconds)
        _lifecycle.lifetimes.set_end(self._place, seconds)
        if self._place.context.ledger is not None:
            await self._place.context.ledger.flush()

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the VM's fields again. Returns this handle.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such VM (any more).
        """
        self._data = await self._place.send(vm_calls.get_vm(self._place), deadline=deadline)
        if self._data.resources is not None:
            self._place.context.generations.learn(self.base_url, "1")
        return self

    @pending
    async def fork(
        self,
        *,
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
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> AsyncVM:
        """Fork this VM into a new one with a copy of its current files.

        The call is the same as `AsyncArker.fork` with this VM as the source. See `AsyncArker.fork` for the arguments
        and errors (contract, section 5).
        """
        request = models.ForkRequest(
            source_vm_id=self.id,
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
        )
        context = self._place.context
        return await fork(context, request, ttl=ttl, idempotency_key=idempotency_key, deadline=deadline)

    @pending
    async def snapshot(
        self, name: str, *, public: bool | None = None, description: str | None = None, deadline: float | None = None
    ) -> AsyncVM:
        """Fork this VM under a name, keep the fork, and return a handle on it.

        A snapshot is a VM as any other: ``ar.fork(name)`` forks it, and it lives until it is deleted. It is kept from
        the start, as if `keep` had been called: no block, no end of the client and no `AsyncArker.reap` deletes it. If
        the call fails or is cancelled, no VM is left behind as far as the client can tell.

        Args:
            name: The snapshot's name, unique in the organisation.
            public: Whether other organisations may fork it.
            description: Its description, up to 1,024 characters; only generation 1 of the API has it.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The name is taken; a server of generation 1 says so by its subclass `AlreadyExistsError`.
            NotFoundError: There is no such VM (any more).
        """
        check.check_text("name", name, what="a name for the snapshot")
        try:
            made = await self.fork(name=name, public=public, description=description, deadline=deadline)
        except ArkerError as error:
            raise error.with_context(operation=error.operation and "vm.snapshot") from None
        made.keep()
        return made

    async def resize(
        self,
        *,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        deadline: float | None = None,
    ) -> models.ResizeResponse:
        """Resize the VM. Resources that are not given stay as they are.

        Args:
            vcpu_count: CPUs, 255 at most.
            memory_mib: Memory, in MiB.
            disk_mib: Disk, in MiB.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            InvalidArgumentError: No resource was given.
            BadRequestError: The server cannot provide these resources.
        """
        request = models.ResizeRequest(vcpu_count=vcpu_count, memory_mib=memory_mib, disk_mib=disk_mib)
        return await self._place.send(vm_calls.resize(self._place, request), deadline=deadline)

    async def update(
        self,
        *,
        description: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: models.NetworkPolicyInput | None = None,
        immutable: bool | None = None,
        policies: models.PolicyInput | None = None,
        ssh_public_keys: models.SshKeys | None = None,
        vgpu: float | None = None,
        pool_id: str | None = None,
        pool_name: str | None = None,
        deadline: float | None = None,
    ) -> Self:
        """Change the VM and read its fields again. What is not given stays as it is. Returns this handle.

        Only generation 1 of the API has it; `resize` works with both.

        Args:
            description: The VM's description; an empty one removes it.
            vcpu_count: Number of CPUs, 255 at most.
            memory_mib: Memory, in MiB.
            disk_mib: Disk, in MiB.
            network: True (open), False (blocked), a policy, or a policy as a mapping.
            immutable: True to make the VM immutable permanently, without any other change: it can then only be forked.
            policies: Changes of the VM's policy, by rules: a `PolicyUpdate`, or a mapping with its fields. They say
                more than ``network`` does, and cannot be given together with it.
            ssh_public_keys: Keys with which the VM is reachable by SSH, by ids of the caller's choice; None for a key
                removes it.
            vgpu: GPUs: 0 to 1 in eighths, or 2, 4 or 8.
            pool_id: The pool to move the VM to, by id.
            pool_name: The pool to move the VM to, by name.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            InvalidArgumentError: No change was given, or another one beside ``immutable``.
            InsufficientResourcesError: The VM needs more than these resources.
            UnsupportedOperationError: The server speaks generation 0.5.
        """
        request = models.PatchVmRequest(
            description=description,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            immutable=immutable,
            policies=policies,
            ssh_public_keys=ssh_public_keys,
            vgpu=vgpu,
            pool_id=pool_id,
            pool_name=pool_name,
        )
        self._data = await self._place.send(vm_calls.update(self._place, request), deadline=deadline)
        return self

    async def delete(self, *, deadline: float | None = None) -> models.DeleteVmResponse:
        """Delete the VM: kill its processes and remove its files.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such VM (any more).
            ForbiddenError: It is a public golden.
        """
        try:
            return await delete(self._place.context, self.base_url, self.id, deadline=deadline)
        except NotFoundError as error:
            if error.from_service or error.attempts <= 1:
                raise
            # Most likely an attempt whose reply was lost has deleted it. It stays in the ledger all the same.
            logger.warning("VM %s may still exist, since only a proxy says that it does not", self.id)
            return models.DeleteVmResponse(deleted=True)


async def fork(
    context: Context,
    request: models.ForkRequest,
    *,
    idempotency_key: str | None,
    deadline: float | None,
    ttl: float | None = None,
    doubted: Callable[[ArkerError], None] | None = None,
) -> AsyncVM:
    """Fork a VM. The new handle keeps the base URL that the fork was sent to (contract, section 2).

    Args:
        context: The client's shared context.
        request: The fork request.
        idempotency_key: The idempotency key; generated by default.
        deadline: Seconds for the whole call.
        ttl: Seconds after which the VM is deleted.
        doubted: Called with the reason when a VM may exist although the caller was cancelled.
    """
    if ttl is not None:
        check.check_seconds("ttl", ttl)
    forking = Forking(context, request, idempotency_key_or_new(idempotency_key))
    del request  # frees memory early: hundreds of forks may run at once
    try:
        data = await forking.send(deadline)
    except asyncio.CancelledError:
        if doubted is not None and forking.doubt is not None:
            doubted(forking.doubt)
        raise
    place = Place(forking.base_url, data.vm_id, context)
    if ttl is not None:
        _lifecycle.lifetimes.set_end(place, ttl)
    return AsyncVM(place, data)


__all__ = ["AsyncVM"]
