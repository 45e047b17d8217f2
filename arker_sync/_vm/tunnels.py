# Generated from arker/_vm/tunnels.py by "nox -s facade": change that file, not this one.
"""Tunnels to a VM. A part of `VM`."""

from __future__ import annotations

from collections.abc import Sequence

import arker_sync
from arker import models
from arker_sync._vm.base import VmBase


class Tunnels(VmBase):
    """The tunnel methods of `VM`."""

    def tunnel(
        self, port: int, *, auth_mode: models.AuthMode | None = None, wait: bool = True, deadline: float | None = None
    ) -> arker_sync.TunnelHandle:
        """Return a tunnel to a port of this VM for ``with``. The block opens it, and deletes it at the end.

        Args:
            port: The port to reach.
            auth_mode: ``public`` (the server's default), or ``authenticated``: requests then need the tunnel's
                ``headers``.
            wait: Whether to wait until the tunnel is open.
            deadline: Seconds until the tunnel is open; None for no limit.
        """
        value = self._async.tunnel(port, auth_mode=auth_mode, wait=wait, deadline=deadline)
        return arker_sync.TunnelHandle(value, self._lease)

    def create_tunnel(
        self,
        *,
        ports: Sequence[int] | None = None,
        auth_mode: models.AuthMode | None = None,
        deadline: float | None = None,
    ) -> models.Tunnel:
        """Create a tunnel to a port of this VM over HTTP and WebSocket. Its ``url`` is the public address.

        Args:
            ports: A list with the one port to reach.
            auth_mode: ``public`` (the server's default), or ``authenticated``: requests through the tunnel then need
                ``Authorization: Bearer {auth_token}`` with the token of this reply, which no later reply repeats.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The list does not have exactly one port.
            NetworkError: With ``outcome="unknown"`` the tunnel may exist; the request is not repeated.
        """
        work = self._async.create_tunnel(ports=ports, auth_mode=auth_mode, deadline=deadline)
        return self._lease.call(work)

    def get_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.Tunnel:
        """Read a tunnel. The reply does not include its token.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        work = self._async.get_tunnel(tunnel_key, deadline=deadline)
        return self._lease.call(work)

    def list_tunnels(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> models.ListTunnelsResponse:
        """List one page of this VM's tunnels, newest first.

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of tunnels on the page; the server's default is 50, its maximum 1,000.
            state: Only tunnels in this state or in one of these states.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
        """
        work = self._async.list_tunnels(cursor=cursor, limit=limit, state=state, deadline=deadline)
        return self._lease.call(work)

    def iter_tunnels(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> arker_sync.Items[models.Tunnel]:
        """Iterate over this VM's tunnels, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of tunnels per page; the server's default is 50, its maximum 1,000.
            state: Only tunnels in this state or in one of these states.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        iterator = self._async.iter_tunnels(cursor=cursor, page_size=page_size, state=state, deadline=deadline)
        return arker_sync.Items(iterator, self._lease)

    def delete_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.DeleteTunnelResponse:
        """Delete a tunnel.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        work = self._async.delete_tunnel(tunnel_key, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Tunnels"]
