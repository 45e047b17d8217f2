"""What a VM has beside runs and files: sessions, tunnels, bound filesystems, its size. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arker import _resource_calls as calls
from arker import models
from arker._transport import Transport
from arker._vm_fields import VmFields
from arker.models import _checks as check


class VmResources(VmFields):
    """The calls of `AsyncVM` on sessions, tunnels and syncs, and `resize`."""

    def __init__(self, transport: Transport, vm_id: str, base_url: str, data: models.Vm | None = None) -> None:
        super().__init__(vm_id, base_url, data)
        self._transport = transport

    # --- sessions -----------------------------------------------------------------------------------------------

    async def list_sessions(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: models.SessionState | str | Sequence[models.SessionState | str] | None = None,
        deadline: float | None = None,
    ) -> models.ListSessionsResponse:
        """A page of this VM's sessions, newest first (contract, section 5).

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Sessions on the page; the server takes 50 unless told, and at most 1,000.
            state: Only sessions in this state, or in one of these.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
        """
        query = {
            "cursor": check.query_text("cursor", cursor),
            "limit": check.query_limit(limit),
            "state": check.query_list("state", state),
        }
        return await self._transport.send(calls.list_sessions(self.base_url, self.id, query), deadline=deadline)

    async def create_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> models.Session:
        """A new session: like a terminal tab, with a working directory and an environment of its own.

        Run commands in it with ``run(..., session_id=session.session_id)``.

        Args:
            env: Variables beside those that every session has.
            cwd: Working directory to start in; the home directory unless given. A relative path counts from there.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The working directory is not there.
        """
        request = models.CreateSessionRequest(env=env, cwd=cwd)
        return await self._transport.send(calls.create_session(self.base_url, self.id, request), deadline=deadline)

    async def get_session(self, session_id: str, *, deadline: float | None = None) -> models.Session:
        """A session as it is now.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        call = calls.get_session(self.base_url, self.id, check.check_id("session_id", session_id))
        return await self._transport.send(call, deadline=deadline)

    async def delete_session(self, session_id: str, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Close a session; what runs in it is stopped.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        call = calls.delete_session(self.base_url, self.id, check.check_id("session_id", session_id))
        return await self._transport.send(call, deadline=deadline)

    # --- tunnels ------------------------------------------------------------------------------------------------

    async def list_tunnels(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> models.ListTunnelsResponse:
        """A page of this VM's tunnels, newest first.

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Tunnels on the page; the server takes 50 unless told, and at most 1,000.
            state: Only tunnels in this state, or in one of these.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
        """
        query = {
            "cursor": check.query_text("cursor", cursor),
            "limit": check.query_limit(limit),
            "state": check.query_list("state", state),
        }
        return await self._transport.send(calls.list_tunnels(self.base_url, self.id, query), deadline=deadline)

    async def create_tunnel(
        self,
        *,
        ports: Sequence[int] | None = None,
        auth_mode: models.AuthMode | None = None,
        deadline: float | None = None,
    ) -> models.Tunnel:
        """A way from outside to a port of this VM, over HTTP and WebSocket; its ``url`` says where.

        Args:
            ports: A list with the one port to reach.
            auth_mode: ``public`` (the server's default), or ``authenticated``: then requests through the tunnel need
                ``Authorization: Bearer {auth_token}``, with the token of this reply, which no later one repeats.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: Not exactly one port.
            NetworkError: With ``outcome="unknown"`` the tunnel may exist: it is not asked for a second time.
        """
        request = models.TunnelRequest(ports=ports, auth_mode=auth_mode)
        return await self._transport.send(calls.create_tunnel(self.base_url, self.id, request), deadline=deadline)

    async def get_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.Tunnel:
        """A tunnel as it is now, without its token.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        call = calls.get_tunnel(self.base_url, self.id, check.check_id("tunnel_key", tunnel_key))
        return await self._transport.send(call, deadline=deadline)

    async def delete_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.DeleteTunnelResponse:
        """Close a tunnel.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        call = calls.delete_tunnel(self.base_url, self.id, check.check_id("tunnel_key", tunnel_key))
        return await self._transport.send(call, deadline=deadline)

    # --- filesystems bound into this VM -------------------------------------------------------------------------

    async def list_syncs(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> models.ListSyncsResponse:
        """A page of the filesystems that are bound into this VM, newest first.

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Syncs on the page; the server takes 50 unless told, and at most 1,000.
            filesystem_id: Only those of this filesystem.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
        """
        query = {
            "cursor": check.query_text("cursor", cursor),
            "limit": check.query_limit(limit),
            "filesystem_id": check.query_text("filesystem_id", filesystem_id),
        }
        return await self._transport.send(calls.list_syncs(self.base_url, self.id, query), deadline=deadline)

    async def create_sync(
        self, *, filesystem_id: str, path: str | None = None, deadline: float | None = None
    ) -> models.Sync:
        """Bind a filesystem into this VM; with ``live`` False the VM sees it from its next start on.

        Args:
            filesystem_id: The filesystem.
            path: Where in the VM; the server chooses unless given.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            ConflictError: Another filesystem is bound at this path.
            NotFoundError: There is no such filesystem.
        """
        request = models.SyncCreateRequest(filesystem_id=filesystem_id, path=path)
        return await self._transport.send(calls.create_sync(self.base_url, self.id, request), deadline=deadline)

    async def delete_sync(self, sync_id: str, *, deadline: float | None = None) -> models.DeleteSyncResponse:
        """Take a filesystem out of this VM; its files stay in the filesystem.

        Args:
            sync_id: The sync's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such sync in this VM.
        """
        call = calls.delete_sync(self.base_url, self.id, check.check_id("sync_id", sync_id))
        return await self._transport.send(call, deadline=deadline)

    # --- size ---------------------------------------------------------------------------------------------------

    async def resize(
        self,
        *,
        vcpu_count: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        deadline: float | None = None,
    ) -> models.ResizeResponse:
        """Give this VM more or less of its resources; what is not given stays as it is.

        Args:
            vcpu_count: CPUs.
            memory_mib: Memory, in MiB.
            disk_mib: Disk, in MiB.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            InvalidArgumentError: Nothing was given.
            BadRequestError: The server cannot give this much.
        """
        request = models.ResizeRequest(vcpu_count=vcpu_count, memory_mib=memory_mib, disk_mib=disk_mib)
        return await self._transport.send(calls.resize(self.base_url, self.id, request), deadline=deadline)


__all__ = ["VmResources"]
