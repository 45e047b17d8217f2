"""The client that a command uses: in the cloud, or on the embedded backend of this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

from attrs import frozen
from cyclopts import Parameter

from arker._cli import local
from arker._cli.running import FailedError, UsageError, complain
from arker._tasks.cleanup import CLEANUP_SECONDS
from arker.client import AsyncArker
from arker.config import has_api_key
from arker.errors import ArkerError, NotFoundError
from arker.vm import AsyncVM


@Parameter(name="*")
@frozen(kw_only=True)
class Connection:
    """Where VMs are.

    Attributes:
        local: On this machine, without an account: on the backend that `arker emulator` runs, else on one for this
            command only.
        region: Region, such as us-west-2; else ARKER_REGION.
        provider: Provider, such as aws; else ARKER_PROVIDER.
    """

    local: bool = False
    region: str | None = None
    provider: str | None = None


Where: TypeAlias = Connection | None
"""Annotation of the argument of each command that talks to a server."""


def make_client(where: Where) -> tuple[AsyncArker, bool]:
    """Make a client, and say whether its backend ends with it."""
    where = where or Connection()
    if not where.local:
        if not has_api_key():
            raise UsageError(
                "an API key is required: set ARKER_API_KEY, or write --local for a backend on this machine"
            )
        return AsyncArker(region=where.region, provider=where.provider), False
    running = local.find()
    if running is None:
        return AsyncArker.local(), True
    url = running.url
    return AsyncArker(running.api_key, base_url=url, burst_base_url=url, control_base_url=url), False


@asynccontextmanager
async def connected(where: Where, *, lasting: bool = False) -> AsyncGenerator[AsyncArker, None]:
    """Open a client for one command.

    Args:
        where: What the command line says.
        lasting: Whether the command makes something that is to outlast it, so that the person should know where not.
    """
    client, ends = make_client(where)
    if ends and lasting:
        complain("the backend was started for this command only and ends with it; `arker emulator` keeps one running")
    async with client:
        yield client


@asynccontextmanager
async def chosen_vm(client: AsyncArker, name: str, *, fork: bool) -> AsyncGenerator[AsyncVM, None]:
    """Find a VM by its id or name; with ``fork``, fork it for the length of the block."""
    if fork:
        async with await fork_of(client, name) as made:
            yield made
    else:
        yield await client.find_vm(name)


async def fork_of(client: AsyncArker, source: str, **options: object) -> AsyncVM:
    """Fork a VM or a public golden by its id or name."""
    from arker._basics.names import GOLDEN_NAMES, meant  # a part of the contract that only forks need

    named = {"source_vm_name" if source in GOLDEN_NAMES else "source_vm_id": source}
    try:
        return await client.fork(**named, **options)  # type: ignore[arg-type]
    except NotFoundError as error:
        advice = meant(source, image="--image of arker fork")
        if advice is not None:
            error.message += f"; {advice}"
        raise


async def remove_session(vm: AsyncVM, session: str) -> None:
    """Delete a session with what goes on in it; say so if it may still be there."""
    try:
        await vm.delete_session(session, deadline=CLEANUP_SECONDS)
    except NotFoundError:
        pass
    except ArkerError as error:
        complain(f"the session {session} may still be there: {error}")


__all__ = ["Connection", "FailedError", "Where", "chosen_vm", "connected", "fork_of", "make_client", "remove_session"]
