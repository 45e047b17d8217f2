"""The life of a server: the provider of VMs, the application, and the socket it answers on."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from arker.emulator._log import NoRequests
from arker.emulator.control.clock import Clock
from arker.emulator.options import EmulatorOptions
from arker.emulator.sandbox.base import SandboxError, SandboxProvider
from arker.emulator.sandbox.pressure import DISK_FULL
from arker.emulator.server.app import API, create_app
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.connections import Connections
from arker.emulator.server.keeper import Keeper

if TYPE_CHECKING:
    from arker.emulator.server.state.directory import StateDirectory
    from arker.emulator.server.state.restore import Restoration

_requests = logging.getLogger("arker.emulator.requests")
_requests.addFilter(NoRequests())

_CLOSE_PATIENCE = 8.0  # seconds for the VMs to end; the parent process allows ten
_REQUEST_PATIENCE = 1.0  # seconds for open requests to end; those that a fault holds end at once


async def open_provider(options: EmulatorOptions, state_dir: Path, *, lasting: Path | None = None) -> SandboxProvider:
    """Open the provider that the options ask for. ``auto`` never falls back to running commands unprotected.

    Args:
        options: Settings.
        state_dir: A directory that ends with the server.
        lasting: The directory for files that do not.

    Raises:
        IsolationUnavailableError: VMs cannot be isolated here.
    """
    from arker.emulator.sandbox.host.machine import Limits

    limits = Limits(processes=options.process_limit, open_files=options.open_files_limit, spares=options.spares)
    if options.isolation == "none":
        from arker.emulator.sandbox.plain import PlainProvider

        return await PlainProvider.open(state_dir, limits, lasting=lasting)
    from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider

    return await BubblewrapProvider.open(state_dir, limits, lasting=lasting)


class Service:
    """One server on a socket that is listening already.

    Args:
        options: Settings. The port in them is ignored: the socket has it already.
        api_key: The bearer token.
        state_dir: An empty directory. The caller removes it.
        sock: The listening socket, owned by the service from now on.
        clock: For tests that move time.

    Attributes:
        warnings: Which VMs of the state directory cannot be used, and why.
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
        self._application: web.AppRunner | None = None
        self._runner: web.ServerRunner | None = None
        self._backend: Backend | None = None
        self._lasting: StateDirectory | None = None
        self.warnings: Sequence[str] = ()
        self.clock = clock or Clock()
        self.origin = origin_of(sock)

    @property
    def backend(self) -> Backend:
        """The records of a started server."""
        if self._backend is None:
            raise RuntimeError("the server has not been started")
        return self._backend

    async def start(self) -> None:
        """Open the provider and answer requests.

        Raises:
            IsolationUnavailableError: VMs cannot be isolated here.
            StateDirectoryError: The state directory in the options cannot be used.
        """
        restoration = await self._take_up() if self._options.state is not None else None
        if restoration is None:
            spool_dir = self._state_dir / "spool"
            spool_dir.mkdir(mode=0o700)
            self._backend = self._new_backend(await open_provider(self._options, self._state_dir), spool_dir)
        self._application = web.AppRunner(create_app(self.backend), handle_signals=False)
        await self._application.setup()
        assert self._application.server is not None
        connections = Connections(
            self.backend,
            self._application.server,
            asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            logger=_requests,
            # Both ends are on one machine. If the server closed idle connections first, clients would run into a race.
            keepalive_timeout=24 * 3600.0,
            read_bufsize=1024 * 1024,
            max_line_size=64 * 1024,
        )
        self._runner = web.ServerRunner(connections, handle_signals=False, shutdown_timeout=_REQUEST_PATIENCE)
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock).start()
        if restoration is not None:
            restoration.go_on()

    def _new_backend(
        self, provider: SandboxProvider, spool_dir: Path, keeper: Keeper | None = None, secret: bytes | None = None
    ) -> Backend:
        return Backend(
            self._options,
            api_key=self._api_key,
            provider=provider,
            spool_dir=spool_dir,
            origin=self.origin,
            clock=self.clock,
            keeper=keeper,
            secret=secret,
        )

    async def _take_up(self) -> Restoration:
        """Open the state directory, and fill a new backend with what is in it."""
        # Imported late: a server without a state directory needs no database.
        from arker.emulator.server.state.directory import StateDirectory
        from arker.emulator.server.state.keeper import StateKeeper
        from arker.emulator.server.state.restore import Restoration

        assert self._options.state is not None
        self._lasting = directory = await asyncio.to_thread(StateDirectory, self._options.state)
        directory.require_isolation("none" if self._options.isolation == "none" else "bubblewrap")
        provider = await self._provider_of(directory)
        keeper = StateKeeper(directory.database)
        self._backend = self._new_backend(provider, directory.spool, keeper, directory.secret)
        restoration = Restoration(self._backend, directory, keeper)
        await restoration.restore()
        self.warnings = restoration.warnings()
        return restoration

    async def _provider_of(self, directory: StateDirectory) -> SandboxProvider:
        """Open the provider that has its files in the state directory, on a full disk with the space in reserve."""
        while True:
            try:
                return await open_provider(self._options, self._state_dir, lasting=directory.path)
            except SandboxError as error:
                if error.code == "mismatched":
                    raise directory.refusal("mismatched", str(error)) from error
                if DISK_FULL not in str(error) or not directory.give_way():
                    raise

    async def close(self) -> None:
        """Kill every VM, so that open requests are answered, then stop listening. A closed service cannot be started
        again.
        """
        if self._backend is not None:
            self._backend.closing = True
            self._backend.over.set()
            self._backend.close_tunnels()
            try:
                keep_files = self._lasting is not None
                await asyncio.wait_for(self._backend.provider.close(keep_files=keep_files), _CLOSE_PATIENCE)
            except Exception:
                logger.exception("the VMs could not be ended cleanly")
        if self._runner is not None:
            await self._runner.cleanup()
        if self._application is not None:
            await self._application.cleanup()
        if self._lasting is not None:
            if self._backend is not None:
                self._backend.keeper.close()
            await self._lasting.close()
        self._sock.close()


def origin_of(sock: socket.socket) -> str:
    """Return the scheme, host and port of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://{host}:{port}"


def base_url(origin: str) -> str:
    """Return the base URL for clients."""
    return origin + API


__all__ = ["Service", "base_url", "open_provider", "origin_of"]
