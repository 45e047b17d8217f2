"""The life of a server: the provider of VMs, the application, and the socket it answers on."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

from aiohttp import web

from arker.emulator._log import NoRequests
from arker.emulator.control.clock import Clock
from arker.emulator.options import EmulatorOptions
from arker.emulator.sandbox.base import SandboxProvider
from arker.emulator.server.app import API, create_app
from arker.emulator.server.backend import Backend, logger

_requests = logging.getLogger("arker.emulator.requests")
_requests.addFilter(NoRequests())

_CLOSE_PATIENCE = 8.0  # seconds for the VMs to end; the parent process allows ten


async def open_provider(options: EmulatorOptions, state_dir: Path) -> SandboxProvider:
    """Open the provider that the options ask for. ``auto`` never falls back to running commands unprotected.

    Raises:
        IsolationUnavailableError: VMs cannot be isolated here.
    """
    from arker.emulator.sandbox.host.machine import Limits

    limits = Limits(processes=options.process_limit, open_files=options.open_files_limit, spares=options.spares)
    if options.isolation == "none":
        from arker.emulator.sandbox.plain import PlainProvider

        return await PlainProvider.open(state_dir, limits)
    from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider

    return await BubblewrapProvider.open(state_dir, limits)


class Service:
    """One server on a socket that is listening already.

    Args:
        options: Settings. The port in them is ignored: the socket has it already.
        api_key: The bearer token.
        state_dir: An empty directory. The caller removes it.
        sock: The listening socket, owned by the service from now on.
        clock: For tests that move time.
    """

    def __init__(
        self,
        options: EmulatorOptions,
        *,
        api_key: str,
        state_dir: Path,
        sock: socket.socket,
        clock: Clock | None = None,
    ) -> None:
        self._options = options
        self._api_key = api_key
        self._state_dir = state_dir
        self._sock = sock
        self._runner: web.AppRunner | None = None
        self._backend: Backend | None = None
        self.clock = clock or Clock()
        self.origin = origin_of(sock)

    @property
    def backend(self) -> Backend:
        """The records of a started server."""
        if self._backend is None:
            raise RuntimeError("the server has not been started")
        return self._backend

    async def start(self) -> None:
        """Open the provider and answer requests."""
        spool_dir = self._state_dir / "spool"
        spool_dir.mkdir(mode=0o700)
        provider = await open_provider(self._options, self._state_dir)
        self._backend = Backend(
            self._options,
            api_key=self._api_key,
            provider=provider,
            spool_dir=spool_dir,
            origin=self.origin,
            clock=self.clock,
        )
        self._runner = web.AppRunner(
            create_app(self._backend),
            handle_signals=False,
            access_log=None,
            logger=_requests,
            # Both ends are on one machine. If the server closed idle connections first, clients would run into a race.
            keepalive_timeout=24 * 3600.0,
            shutdown_timeout=1.0,
            read_bufsize=1024 * 1024,
            max_line_size=64 * 1024,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock).start()

    async def close(self) -> None:
        """Kill every VM, so that open requests are answered, then stop listening. A closed service cannot be started
        again.
        """
        if self._backend is not None:
            self._backend.closing = True
            self._backend.over.set()
            self._backend.close_tunnels()
            try:
                await asyncio.wait_for(self._backend.provider.close(), _CLOSE_PATIENCE)
            except Exception:
                logger.exception("the VMs could not be ended cleanly")
        if self._runner is not None:
            await self._runner.cleanup()
        self._sock.close()


def origin_of(sock: socket.socket) -> str:
    """Return the scheme, host and port of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://{host}:{port}"


def base_url(origin: str) -> str:
    """Return the base URL for clients."""
    return origin + API


__all__ = ["Service", "base_url", "open_provider", "origin_of"]
