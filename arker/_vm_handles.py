"""Runs, sessions and tunnels of a VM as objects that are held. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import arker
from arker import _clock, models
from arker._identifiers import idempotency_key_or_new
from arker._vm_lists import VmLists
from arker.errors import BadReplyError, InvalidArgumentError
from arker.models import _checks as check

# What these objects are made of is imported by the calls that give them: many programs need none.


class VmHandles(VmLists):
    """The calls of `AsyncVM` that give such objects."""

    async def start(
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
    ) -> arker.AsyncRun:
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
        from arker.run import AsyncRun

        request = models.RunRequest(
            command=command,
            session_id=session_id,
            session_idx=session_idx,
            background=True,
            timeout=timeout,
            end_symbol=end_symbol,
            vcpu_count=vcpu_count,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            network=network,
            acquire=acquire,
            release=release,
        )
        began = _clock.now()
        result = await self._post(request, idempotency_key_or_new(idempotency_key), deadline)
        if result.run_id is None or result.run_id.strip() in {"", ".", ".."}:
            raise BadReplyError("the reply names no run_id", path="$.run_id", outcome="applied", operation="vm.run")
        tunnels = result.tunnels if isinstance(result, models.BackgroundRunResult) else ()
        return AsyncRun(
            self._transport, self.base_url, self.id, result.run_id, state=result.state, tunnels=tunnels, began=began
        )

    def attach_run(self, run_id: str) -> arker.AsyncRun:
        """A run of this VM by its id, without asking the server: its fields are None until it is read.

        Args:
            run_id: The run's id.
        """
        from arker.run import AsyncRun

        return AsyncRun(self._transport, self.base_url, self.id, check.check_id("run_id", run_id))

    def open_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> arker.AsyncSession:
        """A session of its own, for ``async with``: opened at the begin of the block, deleted at its end.

        Args:
            env: Variables beside those that every session has.
            cwd: Working directory to start in; the home directory unless given. A relative path counts from there.
            deadline: Seconds until it is open; None for no bound.
        """
        from arker.session import AsyncSession

        bound = None if deadline is None else check.check_seconds("deadline", deadline)
        return AsyncSession(self._transport, self, models.CreateSessionRequest(env=env, cwd=cwd), bound)

    def tunnel(
        self, port: int, *, auth_mode: models.AuthMode | None = None, wait: bool = True, deadline: float | None = None
    ) -> arker.AsyncTunnel:
        """A tunnel to a port of this VM, for ``async with``: opened at the begin of the block, deleted at its end.

        Args:
            port: The port to reach.
            auth_mode: ``public`` (the server's default), or ``authenticated``: then requests need the tunnel's
                ``headers``.
            wait: Whether to wait until it is open.
            deadline: Seconds until it is open; None for no bound.
        """
        from arker.tunnel import AsyncTunnel

        number = check.check_integer("port", port, minimum=1, what="a port number")
        if number > 65535:
            raise InvalidArgumentError("port", port, "expected a port number from 1 to 65535")
        bound = None if deadline is None else check.check_seconds("deadline", deadline)
        request = models.TunnelRequest(ports=(number,), auth_mode=auth_mode)
        return AsyncTunnel(self._transport, self, number, request, check.check_boolean("wait", wait), bound)


__all__ = ["VmHandles"]
