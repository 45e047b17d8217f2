# Generated from arker/_vm_handles.py by "nox -s facade": change that file, not this one.
"""Runs, sessions and tunnels of a VM as objects that are held. A part of `VM`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import arker_sync
from arker import models
from arker_sync._vm_lists import VmLists


class VmHandles(VmLists):
    """The calls of `VM` that give such objects."""

    def start(
        self,
        command: str | Sequence[str],
        *,
        session_id: str | None = None,
        session_idx: int | None = None,
        timeout: float | None = None,
        end_symbol: str | None = None,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        network: models.NetworkRequest | Mapping[str, Any] | None = None,
        acquire: str | Sequence[models.ResourceKind] | None = None,
        release: str | Sequence[models.ResourceKind] | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> arker_sync.RunHandle:
        """A run in the background, started and held: wait for it, read its output as it comes, cancel it.

        Args:
            command: A line for the VM's shell, or a list of arguments, which is quoted for it.
            session_id: The session to run in; by default the VM's default session.
            session_idx: The session by its number; ``session_id`` wins.
            timeout: Seconds after which the server kills everything that the command started; None for no bound.
            end_symbol: Opaque to the SDK.
            vcpu_count: CPUs from this run on.
            memory_mib: Memory from this run on, in MiB.
            disk_mib: Disk from this run on, in MiB.
            network: Ports to open, such as ``{"inbound": {"ports": {"8080": {"visibility": "public"}}}}``.
            acquire: Resources to warm up before: ``cpu``, ``memory``, ``disk``, as a list or joined by commas.
            release: Resources to let go of afterwards; all three come closest to a suspend.
            idempotency_key: The same key with the same request gives the original run instead of starting another; one
                is made for each call unless given.
            deadline: Seconds until it is started; None for no bound.

        Raises:
            ConflictError: The idempotency key belongs to a different request.
            NotFoundError: There is no such VM or session.
            DeadlineExceededError: The deadline passed; the command may be running.
        """
        from arker_sync.run import RunHandle

        work = self._async.start(
            command,
            session_id=session_id,
            session_idx=session_idx,
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
            idempotency_key=idempotency_key,
            deadline=deadline,
        )
        return RunHandle(self._lease.call(work), self._lease)

    def attach_run(self, run_id: str) -> arker_sync.RunHandle:
        """A run of this VM by its id, without asking the server: its fields are None until it is read.

        Args:
            run_id: The run's id.
        """
        from arker_sync.run import RunHandle

        value = self._async.attach_run(run_id)
        return RunHandle(value, self._lease)

    def open_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> arker_sync.SessionHandle:
        """A session of its own, for ``with``: opened at the begin of the block, deleted at its end.

        Args:
            env: Variables beside those that every session has.
            cwd: Working directory to start in; the home directory unless given. A relative path counts from there.
            deadline: Seconds until it is open; None for no bound.
        """
        from arker_sync.session import SessionHandle

        value = self._async.open_session(env=env, cwd=cwd, deadline=deadline)
        return SessionHandle(value, self._lease)

    def tunnel(
        self, port: int, *, auth_mode: models.AuthMode | None = None, wait: bool = True, deadline: float | None = None
    ) -> arker_sync.TunnelHandle:
        """A tunnel to a port of this VM, for ``with``: opened at the begin of the block, deleted at its end.

        Args:
            port: The port to reach.
            auth_mode: ``public`` (the server's default), or ``authenticated``: then requests need the tunnel's
                ``headers``.
            wait: Whether to wait until it is open.
            deadline: Seconds until it is open; None for no bound.
        """
        from arker_sync.tunnel import TunnelHandle

        value = self._async.tunnel(port, auth_mode=auth_mode, wait=wait, deadline=deadline)
        return TunnelHandle(value, self._lease)


__all__ = ["VmHandles"]
