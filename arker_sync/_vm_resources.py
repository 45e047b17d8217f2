# Generated from arker/_vm_resources.py by "nox -s facade": change that file, not this one.
"""What a VM has beside runs and files: sessions, tunnels, bound filesystems, its size. A part of `VM`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arker import models
from arker_sync._vm_fields import VmFields


class VmResources(VmFields):
    """The calls of `VM` on sessions, tunnels and syncs, and `resize`."""

    # --- sessions -----------------------------------------------------------------------------------------------

    def list_sessions(
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
        work = self._async.list_sessions(cursor=cursor, limit=limit, state=state, deadline=deadline)
        return self._lease.call(work)

    def create_session(
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
        work = self._async.create_session(env=env, cwd=cwd, deadline=deadline)
        return self._lease.call(work)

    def get_session(self, session_id: str, *, deadline: float | None = None) -> models.Session:
        """A session as it is now.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        work = self._async.get_session(session_id, deadline=deadline)
        return self._lease.call(work)

    def delete_session(self, session_id: str, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Close a session; what runs in it is stopped.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        work = self._async.delete_session(session_id, deadline=deadline)
        return self._lease.call(work)

    # --- tunnels ------------------------------------------------------------------------------------------------

    def list_tunnels(
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
        work = self._async.list_tunnels(cursor=cursor, limit=limit, state=state, deadline=deadline)
        return self._lease.call(work)

    def create_tunnel(
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
        work = self._async.create_tunnel(ports=ports, auth_mode=auth_mode, deadline=deadline)
        return self._lease.call(work)

    def get_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.Tunnel:
        """A tunnel as it is now, without its token.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        work = self._async.get_tunnel(tunnel_key, deadline=deadline)
        return self._lease.call(work)

    def delete_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.DeleteTunnelResponse:
        """Close a tunnel.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        work = self._async.delete_tunnel(tunnel_key, deadline=deadline)
        return self._lease.call(work)

    # --- filesystems bound into this VM -------------------------------------------------------------------------

    def list_syncs(
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
        work = self._async.list_syncs(cursor=cursor, limit=limit, filesystem_id=filesystem_id, deadline=deadline)
        return self._lease.call(work)

    def create_sync(self, *, filesystem_id: str, path: str | None = None, deadline: float | None = None) -> models.Sync:
        """Bind a filesystem into this VM; with ``live`` False the VM sees it from its next start on.

        Args:
            filesystem_id: The filesystem.
            path: Where in the VM; the server chooses unless given.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            ConflictError: Another filesystem is bound at this path.
            NotFoundError: There is no such filesystem.
        """
        work = self._async.create_sync(filesystem_id=filesystem_id, path=path, deadline=deadline)
        return self._lease.call(work)

    def delete_sync(self, sync_id: str, *, deadline: float | None = None) -> models.DeleteSyncResponse:
        """Take a filesystem out of this VM; its files stay in the filesystem.

        Args:
            sync_id: The sync's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such sync in this VM.
        """
        work = self._async.delete_sync(sync_id, deadline=deadline)
        return self._lease.call(work)

    # --- size ---------------------------------------------------------------------------------------------------

    def resize(
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
        work = self._async.resize(vcpu_count=vcpu_count, memory_mib=memory_mib, disk_mib=disk_mib, deadline=deadline)
        return self._lease.call(work)


__all__ = ["VmResources"]
