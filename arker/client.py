"""`AsyncArker`: the client."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import arker
from arker import _tasks, models
from arker._basics import arguments
from arker._basics.guidance import whole
from arker._basics.lazy import later
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.typing import Self
from arker._client.api_keys import ApiKeys
from arker._client.filesystems import OrgFilesystems
from arker._client.fleets import Fleets
from arker._client.pools import Pools
from arker._client.reap import Reaping
from arker._client.runs import OrgRuns
from arker._client.service import Service
from arker._client.vms import Vms
from arker.config import DEFAULT_MAX_CONNECTIONS, DEFAULT_OVERLAP_SESSIONS, HttpTimeouts, load_settings
from arker.errors import ConfigurationError, InvalidArgumentError

if TYPE_CHECKING:
    import asyncio

    import aiohttp

    from arker._ledger.ledger import Ledger
    from arker.emulator import Emulator
else:
    aiohttp = later("aiohttp")


@whole
class AsyncArker(Vms, OrgRuns, OrgFilesystems, Fleets, Pools, ApiKeys, Service, Reaping):
    """A client of Arker VMs for asyncio programs.

        async with AsyncArker(region="us-west-2") as ar:
            async with ar.fork("ubuntu") as vm:
                print((await vm.run("echo hi")).stdout_text)

    One client serves a whole program: any number of tasks, and event loops that come one after another or live in
    several threads (it opens connections for each). ``async with`` or `aclose` ends it. While an ``async with`` block
    lasts in the main thread, SIGTERM cancels it, so that VMs are deleted, unless the program handles the signal itself.

    Args:
        api_key: The API key; else ``ARKER_API_KEY``, then ``AUTH_KEY``.
        base_url: Compute base URL; else ``ARKER_BASE_URL``, else built from provider and region.
        burst_base_url: Burst base URL; else ``ARKER_BURST_BASE_URL``, else built from the region where the provider is
            ``aws-burst``, else burst VMs use the compute base URL.
        control_base_url: Control base URL; else ``ARKER_CONTROL_BASE_URL``, else ``https://arker.ai/api``.
        region: Region, such as ``us-west-2``; else ``ARKER_REGION``, unless ``base_url`` is given.
        provider: Provider, a host name label such as ``aws``; else ``ARKER_PROVIDER``, else ``aws``.
        retry: A `RetryPolicy`, a mapping with its fields, or False for a single attempt.
        timeout: Limits on connections.
        max_connections: Maximum number of requests in flight; further requests wait in order. Up to 8 places are
            reserved for requests other than foreground runs, so that deletions and cancellations never wait behind runs
            (with 1, there is one extra place for them during a run). When the server reports too many requests, the
            client uses fewer for a while. The limit is at most half of the process's limit of open files (``ulimit
            -n``).
        insecure_hosts: Exact names or addresses of hosts that may receive the key over plain HTTP; else
            ``ARKER_INSECURE_HOSTS``, separated by commas. An ``http://`` base URL is rejected unless its host is this
            machine's loopback or one of these.
        session: An aiohttp session to use instead of the client's own. The client never closes it, and it works only in
            its own event loop. Its default headers are also sent to presigned URLs, so a session with an authorization
            header is rejected. Its connector limits connections and its settings choose proxies. aiohttp itself repeats
            a GET, PUT or DELETE once when a kept-alive connection is dead.
        hooks: Functions that are called for attempts, retries and transfers.
        ledger: The file that records forks, so that `reap` can delete the VMs of a killed program: a path, True for the
            default file in the user's state directory, False for no ledger; else ``ARKER_LEDGER``, else the default
            file.
        strict_replies: Raise `BadReplyError` for every field of a reply that violates the contract, instead of adding
            it to the model's ``misfits``; for tests of a server.
        overlap_sessions: Maximum number of runs in a VM beside the one in its default session: a run that names no
            session and would have to wait there gets a session of the client's own (see `AsyncVM.run`). With 0, such
            runs wait.
        generation: The generation of the API that requests are made for: ``auto`` (find out for each base URL), ``1``
            or ``0.5``; else ``ARKER_GENERATION``, else ``auto``. Replies of both are understood in any case.

    Raises:
        ConfigurationError: There is no API key. Without a region and a base URL, only organisation-wide calls work:
            every other one raises this error.
        InvalidArgumentError: A value is invalid.
    """

    __reduce__ = refuse_to_be_pickled

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        burst_base_url: str | None = None,
        control_base_url: str | None = None,
        region: str | None = None,
        provider: models.Provider | str | None = None,
        retry: arker.RetryPolicy | Mapping[str, float] | bool | None = None,
        timeout: HttpTimeouts | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        insecure_hosts: Sequence[str] | None = None,
        session: aiohttp.ClientSession | None = None,
        hooks: arker.Hooks | None = None,
        ledger: bool | str | os.PathLike[str] | None = None,
        strict_replies: bool = False,
        overlap_sessions: int = DEFAULT_OVERLAP_SESSIONS,
        generation: arker.GenerationSetting | None = None,
    ) -> None:
        self._settings = load_settings(
            api_key,
            base_url=base_url,
            burst_base_url=burst_base_url,
            control_base_url=control_base_url,
            region=region,
            provider=provider,
            retry=retry,
            timeout=timeout,
            max_connections=max_connections,
            insecure_hosts=insecure_hosts,
            ledger=ledger,
            strict_replies=strict_replies,
            overlap_sessions=overlap_sessions,
            generation=generation,
        )
        if session is not None:
            from arker._transport.http.callers import check_session  # brings aiohttp along

            check_session(session)
        # Imported here, by the first client, because it also loads asyncio.
        from arker._context import Context
        from arker._transport.transport import Transport
        from arker.hooks import Hooks

        if hooks is not None and not isinstance(hooks, Hooks):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("hooks", hooks, "expected Hooks(on_request=…, on_retry=…, on_transfer=…)")
        self._emulator: Emulator | None = None
        self._terminable: asyncio.Task[Any] | None = None
        self._interruptible = False
        place = self._settings.ledger
        self._ledger: Ledger | None = None
        if place is not None:
            from arker._ledger.ledger import Ledger  # clients of embedded backends need none

            self._ledger = Ledger(place, self._settings.api_key)
        self._transport = Transport(
            self._settings,
            session=session,
            prepare=self._await_emulator,
            diagnose=self._check_emulator,
            hooks=hooks,
        )
        self._context = Context(self._transport, self._ledger)

    @classmethod
    def local(
        cls,
        *,
        retry: arker.RetryPolicy | Mapping[str, float] | bool | None = None,
        timeout: HttpTimeouts | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        session: aiohttp.ClientSession | None = None,
        hooks: arker.Hooks | None = None,
        strict_replies: bool = False,
        overlap_sessions: int = DEFAULT_OVERLAP_SESSIONS,
        **options: Any,
    ) -> Self:
        """Create a client with an embedded backend: a server in a child process that the client owns and ends.

            async with AsyncArker.local() as ar:
                vm = await ar.fork("ubuntu")

        The call starts the process, which is ready a fraction of a second later; the first request waits for it. The
        backend needs no account and no network. It ends with this client or this process, whichever ends first.

        Args:
            retry: As for the client.
            timeout: As for the client.
            max_connections: As for the client.
            session: As for the client.
            hooks: As for the client.
            strict_replies: As for the client.
            overlap_sessions: As for the client.
            options: Fields of `arker.emulator.EmulatorOptions`, such as ``isolation="none"``.

        Raises:
            InvalidArgumentError: There is no such option, or its value is invalid.
            EmulatorError: At the first request (or ``async with``): the backend could not start; the message says why.
        """
        # Only programs that use the embedded backend need its code.
        from arker.emulator import Emulator

        arguments.refuse("local", arguments.LOCAL, options)
        emulator = Emulator(**options)
        emulator.launch()
        try:
            client = cls(
                **emulator.client_options,
                region=emulator.options.region,
                retry=retry,
                timeout=timeout,
                max_connections=max_connections,
                session=session,
                hooks=hooks,
                strict_replies=strict_replies,
                overlap_sessions=overlap_sessions,
                ledger=False,  # its VMs end with it, however it ends
            )
        except BaseException:
            emulator.close()
            raise
        client._emulator = emulator
        return client

    async def _await_emulator(self) -> None:
        if self._emulator is not None:
            await self._emulator.await_ready()

    def _check_emulator(self) -> None:
        if self._emulator is not None:
            self._emulator.check_alive()

    def __repr__(self) -> str:
        if "_transport" not in self.__dict__:  # shown by a traceback after a failed constructor
            return f"<{type(self).__name__}, not made>"
        local = ", local" if self._emulator is not None else ""
        return f"<AsyncArker {self.base_url}{local}{', closed' if self._transport.closed else ''}>"

    @property
    def base_url(self) -> str | None:
        """The compute base URL; None if neither it nor a region is set."""
        return self._settings.base_url

    @property
    def burst_base_url(self) -> str | None:
        """The burst base URL; None if there is none."""
        return self._settings.burst_base_url

    @property
    def control_base_url(self) -> str:
        """The control base URL."""
        return self._settings.control_base_url

    @property
    def region(self) -> str | None:
        """The region; None if none is set."""
        return self._settings.region

    @property
    def provider(self) -> str:
        """The provider."""
        return self._settings.provider

    @property
    def ledger(self) -> Path | None:
        """The file that records forks; None without a ledger."""
        return self._settings.ledger

    async def __aenter__(self) -> Self:
        try:
            await self._transport.ready()
        except BaseException:
            try:
                _tasks.running_loop.running_loop()
            except ConfigurationError:
                self._close_outside(in_order=True)
            else:
                await self.aclose()
            raise
        self._terminable = _tasks.termination.enter()
        self._interruptible = _tasks.hurry.heed()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A cancelled program must not leave the backend's process running.
        try:
            await _tasks.cleanup.clean_up(self._close(in_order=exc_type is None), cut=False)
        finally:
            _tasks.hurry.unheed(self._interruptible)
            _tasks.termination.leave(self._terminable)

    async def aclose(self) -> None:
        """Close the client's connections and end its embedded backend, if it has one.

        Calls in progress in other tasks end with a `ConfigurationError`, and their open blocks are left within ten
        seconds: VMs of ``async with`` blocks and of fleets are deleted, forks in progress are undone, and sessions and
        tunnels are closed. Deletions by their callers at that time, such as of a VM in a ``finally``, are still carried
        out. VMs that cannot be deleted in time are logged and stay in the ledger for `reap`, and so do VMs that are
        deleted after the client has been closed. Deletions that take longer are cancelled.

        Other VMs in the cloud keep running, and `reap` does not delete them, except at the end of their ``ttl``. (If an
        exception leaves the client's ``async with`` block, `reap` can delete them once this process has ended.)
        """
        await _tasks.cleanup.clean_up(self._close(in_order=True), cut=False)

    def _close_outside(self, *, in_order: bool) -> None:
        """Close the client where no event loop runs and no thread can be started, such as at the interpreter's exit."""
        try:
            self._transport.blocks.abandon()
            self._transport.close_outside()
        finally:
            try:
                if self._ledger is not None:
                    self._ledger.end(release=in_order)
            finally:
                if self._emulator is not None:
                    self._emulator.close()

    async def _close(self, *, in_order: bool) -> None:
        self._context.stop_timers()
        try:
            await self._context.settle_kept()
            await self._transport.blocks.close()
            await self._context.settled()
            if self._emulator is None:  # else the VMs end with it
                await self._context.close_kept()
            await self._transport.aclose()
        finally:
            try:
                if self._ledger is not None:
                    await self._ledger.aclose(release=in_order)
            finally:
                if self._emulator is not None:
                    await self._emulator.aclose()
                _tasks.hurry.report()


__all__ = ["AsyncArker"]
