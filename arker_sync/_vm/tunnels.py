# Generated from arker/_vm/tunnels.py by "nox -s facade": change that file, not this one.
"""Tunnels to a VM. A part of `VM`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import arker_sync
from arker import models
from arker_sync._bridge.facade import same
from arker_sync._vm.base import VmBase


class Tunnels(VmBase):
    """The calls of `VM` on tunnels."""

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
        value = self._async.tunnel(port, auth_mode=auth_mode, wait=wait, deadline=deadline)
        return arker_sync.TunnelHandle(value, self._lease)

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

    def iter_tunnels(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> Iterator[models.Tunnel]:
        """This VM's tunnels, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Tunnels to ask for at once; the server takes 50 unless told, and at most 1,000.
            state: Only tunnels in this state, or in one of these.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_tunnels(cursor=cursor, page_size=page_size, state=state, deadline=deadline)
        return self._lease.iterate(iterator, same)

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


__all__ = ["Tunnels"]
