# Generated from arker/vm.py by "nox -s facade": change that file, not this one.
"""`VM`: a handle on one VM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from arker import models
from arker._basics.typing import Self
from arker_sync._vm.directories import Directories
from arker_sync._vm.files import Transfers
from arker_sync._vm.filesystems import Filesystems
from arker_sync._vm.run_records import RunRecords
from arker_sync._vm.runs import Runs
from arker_sync._vm.sessions import Sessions
from arker_sync._vm.terminals import Terminals
from arker_sync._vm.tunnels import Tunnels


class VM(Runs, RunRecords, Sessions, Terminals, Tunnels, Filesystems, Transfers, Directories):
    """A handle on a VM: run commands in it, move files, fork it, delete it.

    The handle has no connection of its own and is usable as long as its client. Its attributes are the fields of `Vm`
    at the last read. As a context manager it deletes the VM at the end of the block, also after an exception:

        with ar.fork("ubuntu") as vm:
            result = vm.run("echo hi", check=True)
            print(result.stdout_text)
    """

    # --- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        work = self._async.__aenter__()
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        work = self._async.__aexit__(exc_type, exc, traceback)
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None), raised=exc_type)

    @property
    def kept(self) -> bool:
        """Whether `keep` was called."""
        return self._async.kept

    def keep(self) -> None:
        """Keep the VM: its ``with`` block, its fleet and `Arker.reap` do not delete it.

        A time at which it was to be deleted (``ttl``, `keep_alive`) no longer counts.
        """
        self._async.keep()

    def keep_alive(self, seconds: float) -> None:
        """Set the VM's end to some seconds from now, in place of the time that was set before.

        The client deletes it then, if it still exists and the client is open; otherwise `Arker.reap` does, which
        leaves the VM alone until then, also if this program is killed. Without a ledger only the open client does. The
        VM's ``with`` block deletes it at its end in any case, and `keep` takes the time back. The server does not
        know of it, and no request is sent. Returns when it is on record.

        Args:
            seconds: Seconds from now.
        """
        work = self._async.keep_alive(seconds)
        self._lease.call(work)

    def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the VM's fields again. Returns this handle.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such VM (any more).
        """
        work = self._async.refresh(deadline=deadline)
        self._lease.call(work)
        return self

    def fork(
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
    ) -> VM:
        """Fork this VM into a new one with a copy of its current files.

        The call is the same as `Arker.fork` with this VM as the source. See `Arker.fork` for the arguments
        and errors (contract, section 5).
        """
        work = self._async.fork(
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
            ttl=ttl,
            idempotency_key=idempotency_key,
            deadline=deadline,
        )
        return self._lease.make(work, VM, undo=lambda made: made.delete())

    def snapshot(
        self, name: str, *, public: bool | None = None, description: str | None = None, deadline: float | None = None
    ) -> VM:
        """Fork this VM under a name, keep the fork, and return a handle on it.

        A snapshot is a VM as any other: ``ar.fork(name)`` forks it, and it lives until it is deleted. It is kept from
        the start, as if `keep` had been called: no block, no end of the client and no `Arker.reap` deletes it. If
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
        work = self._async.snapshot(name, public=public, description=description, deadline=deadline)
        return VM(self._lease.call(work), self._lease)

    def resize(
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
        work = self._async.resize(vcpu_count=vcpu_count, memory_mib=memory_mib, disk_mib=disk_mib, deadline=deadline)
        return self._lease.call(work)

    def update(
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
        work = self._async.update(
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
            deadline=deadline,
        )
        self._lease.call(work)
        return self

    def delete(self, *, deadline: float | None = None) -> models.DeleteVmResponse:
        """Delete the VM: kill its processes and remove its files.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such VM (any more).
            ForbiddenError: It is a public golden.
        """
        work = self._async.delete(deadline=deadline)
        return self._lease.call(work)


__all__ = ["VM"]
