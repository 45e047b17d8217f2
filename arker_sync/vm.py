# Generated from arker/vm.py by "nox -s facade": change that file, not this one.
"""`VM`: a handle on one VM."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from arker import models
from arker._typing import Self
from arker_sync._vm_directories import VmDirectories


class VM(VmDirectories):
    """A handle on a VM: run commands in it, move files, fork it, delete it.

    It holds no connection of its own and may be kept as long as its client. Its attributes are the fields of `Vm` as
    they were last read. As a context manager it deletes the VM at the end, whatever happens inside:

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
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))

    @property
    def kept(self) -> bool:
        """Whether `keep` was called."""
        return self._async.kept

    def keep(self) -> None:
        """Do not delete the VM when the ``with`` block of it or its fleet is left, nor in a `Arker.reap`."""
        self._async.keep()

    def refresh(self, *, deadline: float | None = None) -> Self:
        """This handle, with its fields read anew.

        Args:
            deadline: Seconds for the whole call; None for no bound.

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
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> VM:
        """A new VM with a copy of this one's files as of this moment; the same as `Arker.fork` of it.

        See `Arker.fork` for the arguments and errors (contract, section 5).
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
            idempotency_key=idempotency_key,
            deadline=deadline,
        )
        return VM(self._lease.call(work, undo=lambda made: made.delete()), self._lease)

    def delete(self, *, deadline: float | None = None) -> models.DeleteVmResponse:
        """Delete the VM: its processes are killed, its files removed.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such VM (any more).
            ForbiddenError: It is a public golden.
        """
        work = self._async.delete(deadline=deadline)
        return self._lease.call(work)


__all__ = ["VM"]
