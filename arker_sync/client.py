# Generated from arker/client.py by "nox -s facade": change that file, not this one.
"""`Arker`: the client."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import arker
from arker import AsyncArker, models
from arker._basics.typing import Self
from arker.config import DEFAULT_MAX_CONNECTIONS, DEFAULT_OVERLAP_SESSIONS, HttpTimeouts
from arker_sync import _bridge
from arker_sync._bridge.life import Life
from arker_sync._client.api_keys import ApiKeys
from arker_sync._client.filesystems import OrgFilesystems
from arker_sync._client.fleets import Fleets
from arker_sync._client.pools import Pools
from arker_sync._client.reap import Reaping
from arker_sync._client.runs import OrgRuns
from arker_sync._client.service import Service
from arker_sync._client.vms import Vms


class Arker(Vms, OrgRuns, OrgFilesystems, Fleets, Pools, ApiKeys, Service, Reaping):
    """A client of Arker VMs for blocking programs: scripts, notebooks, threads.

        with Arker(region="us-west-2") as ar:
            with ar.fork("ubuntu") as vm:
                print(vm.run("echo hi").stdout_text)

    One client serves a whole program and any number of threads. ``with`` or `close` ends it; a client that is not
    closed is closed at exit. While a ``with`` block lasts in the main thread, SIGTERM ends it, so that VMs are deleted,
    unless the program handles the signal itself. Ctrl-C cancels the call that is going on, and its clean-up is waited
    for. An event loop that runs in the caller's thread stands still during a call: use `arker.AsyncArker` there.

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
        hooks: Functions that are called for attempts, retries and transfers.
        ledger: The file that records forks, so that `reap` can delete the VMs of a killed program: a path, True for the
            default file in the user's state directory, False for no ledger; else ``ARKER_LEDGER``, else the default
            file.
        strict_replies: Raise `BadReplyError` for every field of a reply that violates the contract, instead of adding
            it to the model's ``misfits``; for tests of a server.
        overlap_sessions: Maximum number of runs in a VM beside the one in its default session: a run that names no
            session and would have to wait there gets a session of the client's own (see `VM.run`). With 0, such
            runs wait.
        generation: The generation of the API that requests are made for: ``auto`` (find out for each base URL), ``1``
            or ``0.5``; else ``ARKER_GENERATION``, else ``auto``. Replies of both are understood in any case.

    Raises:
        ConfigurationError: There is no API key. Without a region and a base URL, only organisation-wide calls work:
            every other one raises this error.
        InvalidArgumentError: A value is invalid.
    """

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
        hooks: arker.Hooks | None = None,
        ledger: bool | str | os.PathLike[str] | None = None,
        strict_replies: bool = False,
        overlap_sessions: int = DEFAULT_OVERLAP_SESSIONS,
        generation: arker.GenerationSetting | None = None,
    ) -> None:
        client = AsyncArker(
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
            hooks=_bridge.callbacks.relay_hooks(hooks),
            ledger=ledger,
            strict_replies=strict_replies,
            overlap_sessions=overlap_sessions,
            generation=generation,
        )
        super().__init__(client)

    @classmethod
    def local(
        cls,
        *,
        retry: arker.RetryPolicy | Mapping[str, float] | bool | None = None,
        timeout: HttpTimeouts | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        hooks: arker.Hooks | None = None,
        strict_replies: bool = False,
        overlap_sessions: int = DEFAULT_OVERLAP_SESSIONS,
        **options: Any,
    ) -> Self:
        """Create a client with an embedded backend: a server in a child process that the client owns and ends.

            with Arker.local() as ar:
                vm = ar.fork("ubuntu")

        The call starts the process, which is ready a fraction of a second later; the first request waits for it. The
        backend needs no account and no network. It ends with this client or this process, whichever ends first.

        Args:
            retry: As for the client.
            timeout: As for the client.
            max_connections: As for the client.
            hooks: As for the client.
            strict_replies: As for the client.
            overlap_sessions: As for the client.
            options: Fields of `arker.emulator.EmulatorOptions`, such as ``isolation="none"``.

        Raises:
            InvalidArgumentError: There is no such option, or its value is invalid.
            EmulatorError: At the first request (or ``with``): the backend could not start; the message says why.
        """
        cls._check_options(options)
        client = cls.__new__(cls)
        asynchronous = AsyncArker.local(
            retry=retry,
            timeout=timeout,
            max_connections=max_connections,
            hooks=_bridge.callbacks.relay_hooks(hooks),
            strict_replies=strict_replies,
            overlap_sessions=overlap_sessions,
            **options,
        )
        Life.__init__(client, asynchronous)
        return client

    @property
    def base_url(self) -> str | None:
        """The compute base URL; None if neither it nor a region is set."""
        return self._async.base_url

    @property
    def burst_base_url(self) -> str | None:
        """The burst base URL; None if there is none."""
        return self._async.burst_base_url

    @property
    def control_base_url(self) -> str:
        """The control base URL."""
        return self._async.control_base_url

    @property
    def region(self) -> str | None:
        """The region; None if none is set."""
        return self._async.region

    @property
    def provider(self) -> str:
        """The provider."""
        return self._async.provider

    @property
    def ledger(self) -> Path | None:
        """The file that records forks; None without a ledger."""
        return self._async.ledger

    def __enter__(self) -> Self:
        return self._enter()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit(exc_type, exc, traceback)

    def close(self) -> None:
        """Close the client's connections and end its embedded backend, if it has one.

        Calls in progress in other threads end with a `ConfigurationError`, and their open blocks are left within ten
        seconds: VMs of ``with`` blocks and of fleets are deleted, forks in progress are undone, and sessions and
        tunnels are closed. Deletions by their callers at that time, such as of a VM in a ``finally``, are still carried
        out. VMs that cannot be deleted in time are logged and stay in the ledger for `reap`, and so do VMs that are
        deleted after the client has been closed. Deletions that take longer are cancelled.

        Other VMs in the cloud keep running, and `reap` does not delete them, except at the end of their ``ttl``. (If an
        exception leaves the client's ``with`` block, `reap` can delete them once this process has ended.)
        """
        self._close()


__all__ = ["Arker"]
