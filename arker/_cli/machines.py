"""``arker fork``, ``ls``, ``rm`` and ``snapshot``: VMs."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Annotated, Literal

from cyclopts import Parameter

from arker import models
from arker._basics.names import ARKER_ORG_ID
from arker._cli import output, quantities, statuses
from arker._cli.connection import Where, connected, fork_of
from arker._cli.running import FailedError, UsageError, complain
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up
from arker.client import AsyncArker
from arker.errors import ArkerError, NotFoundError
from arker.vm import AsyncVM

_AT_ONCE = 8
"""How many VMs are deleted at a time."""


async def fork(
    source: str | None = None,
    /,
    *,
    name: str | None = None,
    ttl: str | None = None,
    cpu: int | None = None,
    memory: str | None = None,
    disk: str | None = None,
    network: str | None = None,
    image: str | None = None,
    public: bool = False,
    durable: bool = False,
    description: str | None = None,
    files_only: bool = False,
    command: str | None = None,
    platform: tuple[str, ...] = (),
    queueing_timeout: str | None = None,
    idempotency_key: str | None = None,
    json: bool = False,
    where: Where = None,
) -> int:
    """Fork a VM or a public golden, such as ubuntu, and print the new VM's id. The VM lives until it is deleted.

    Args:
        source: Id or name of what to fork.
        name: The new VM's name.
        ttl: Time, such as 90m, after which `arker reap` deletes the VM on this machine.
        cpu: Number of CPUs.
        memory: Memory: MiB, or such as 2G.
        disk: Disk: MiB, or such as 20G.
        network: What the VM reaches: open, blocked, allow:HOST,HOST… or block:HOST,HOST….
        image: A container image, such as python:3.12, instead of a source.
        public: Let other organisations fork the new VM.
        durable: Take its runs up again after a failure of their host.
        description: The new VM's description.
        files_only: Copy files only, not processes.
        command: A command to start in the background in the new VM.
        platform: Platform that the new VM may run on; may be given several times.
        queueing_timeout: Time, such as 30s, to wait for capacity.
        idempotency_key: A repeated call with the same key gives the same VM.
        json: Print all fields as JSON.
        where: Where VMs are.
    """
    if (source is None) == (image is None):
        raise UsageError("fork: expected either SOURCE or --image")
    lifetime = quantities.seconds("--ttl", ttl)
    options = {
        "name": name,
        "public": public or None,
        "network": quantities.network("--network", network),
        "vcpu_count": cpu,
        "memory_mib": quantities.mebibytes("--memory", memory),
        "disk_mib": quantities.mebibytes("--disk", disk),
        "durable": durable or None,
        "description": description,
        "layers": ["disk"] if files_only else None,
        "command": command,
        "platforms": platform or None,
        "queueing_timeout": quantities.seconds("--queueing-timeout", queueing_timeout),
        "idempotency_key": idempotency_key,
        "ttl": lifetime,
    }
    async with connected(where, lasting=True) as client:
        if lifetime is not None and client.ledger is None:
            raise UsageError("--ttl needs the ledger of forks, which is off here: set ARKER_LEDGER=on")
        if source is not None:
            made = await fork_of(client, source, **options)
        else:
            made = await client.fork(image=image, **options)  # type: ignore[arg-type]
        if lifetime is None:
            made.keep()
        elif not await _is_on_record(client):
            await clean_up(_delete(made))
            raise FailedError("--ttl needs the ledger of forks, which cannot be written: the VM has been deleted again")
        await _tell(made, json=json, known=idempotency_key is not None)
    return statuses.DONE


async def ls(
    *,
    state: Literal["idle", "running"] | None = None,
    goldens: bool = False,
    limit: int | None = None,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"))] = False,
    json: bool = False,
    where: Where = None,
) -> int:
    """List VMs of all regions, newest first.

    Args:
        state: Only VMs in this state.
        goldens: List the public goldens instead, which can be forked.
        limit: At most so many.
        quiet: Print ids only, as for: arker rm $(arker ls -q).
        json: Print all fields as JSON.
        where: Where VMs are.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: expected at least 1")
    if quiet and json:
        raise UsageError("ls: --quiet does not go with --json")
    async with connected(where) as client:
        found = await list_vms(client, state=state, goldens=goldens, limit=limit)
    if json:
        output.print_json(found)
    elif quiet:
        output.write("".join(f"{vm.vm_id}\n" for vm in found))
    else:
        output.print_table(HEADS, [row(vm) for vm in found])
    return statuses.DONE


async def list_vms(
    client: AsyncArker, *, state: str | None = None, goldens: bool = False, limit: int | None = None
) -> list[models.Vm]:
    """Return the VMs of a list, newest first."""
    found: list[models.Vm] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        page = await client.list_vms(
            cursor=cursor,
            limit=1000 if limit is None else min(1000, limit - len(found)),
            state=state,
            org_id=ARKER_ORG_ID if goldens else None,
            public=True if goldens else None,
        )
        found += page.vms
        cursor = page.next_cursor
        if not cursor:
            break
    return list(islice(found, limit))


HEADS = ("ID", "NAME", "STATE", "REGION", "CPU", "MEMORY", "AGE", "DESCRIPTION")
"""The heads of the table of VMs."""


def row(vm: models.Vm) -> tuple[str, ...]:
    """Return the row of a VM in the table of VMs."""
    cpus = "" if vm.vcpu_count is None else str(vm.vcpu_count)
    place = "" if vm.region is None else vm.region if vm.provider is None else f"{vm.provider}-{vm.region}"
    facts = (vm.vm_id, vm.name or "", vm.state or "", place, cpus, output.size(vm.memory_mib))
    return (*facts, output.age(vm.created_at), vm.description or "")


async def rm(
    vm: str,
    /,
    *vms: str,
    force: Annotated[bool, Parameter(name=("--force", "-f"))] = False,
    where: Where = None,
) -> int:
    """Delete VMs, with their processes and files.

    Args:
        vm: Id or name of a VM.
        vms: Further VMs.
        force: A VM that does not exist is no failure.
        where: Where VMs are.
    """
    async with connected(where) as client:
        places = asyncio.Semaphore(_AT_ONCE)

        async def remove(name: str) -> bool:
            async with places:
                try:
                    found = await client.find_vm(name)
                    await found.delete()
                except NotFoundError as error:
                    if not force:
                        complain(f"{name}: {error}")
                    return force
                except ArkerError as error:
                    complain(f"{name}: {error}")
                    return False
            output.write(f"{found.id}\n")
            return True

        done = await asyncio.gather(*(remove(name) for name in dict.fromkeys((vm, *vms))))
    return statuses.DONE if all(done) else statuses.FAILED


async def snapshot(
    vm: str,
    name: str,
    /,
    *,
    public: bool = False,
    description: str | None = None,
    json: bool = False,
    where: Where = None,
) -> int:
    """Fork a VM under a name, as something to fork later, and print the new VM's id.

    Args:
        vm: Id or name of the VM.
        name: The snapshot's name.
        public: Let other organisations fork it.
        description: Its description.
        json: Print all fields as JSON.
        where: Where VMs are.
    """
    async with connected(where, lasting=True) as client:
        found = await client.find_vm(vm)
        made = await found.snapshot(name, public=public or None, description=description)
        await _tell(made, json=json)
    return statuses.DONE


async def _is_on_record(client: AsyncArker) -> bool:
    """Return whether the ledger has what is known of the client's VMs: without it nothing ends one that has a ttl."""
    ledger = client._context.ledger  # pyright: ignore[reportPrivateUsage]
    return ledger is not None and await ledger.is_written()


async def _tell(made: AsyncVM, *, json: bool, known: bool = False) -> None:
    """Print a new VM. If that fails the VM is deleted: the exit status says that there is none, and nothing its id.

    Args:
        made: The VM.
        json: Whether all fields are printed.
        known: Whether it is found without its id, by a key of the caller's.
    """
    try:
        if json:
            output.print_json(made.data)
        else:
            output.write(f"{made.id}\n")
    except OSError:
        if not known:
            await clean_up(_delete(made))
        raise


async def _delete(made: AsyncVM) -> None:
    try:
        await made.delete(deadline=CLEANUP_SECONDS)
    except ArkerError as error:
        complain(f"the VM {made.id} may still exist: {error}")


__all__ = ["HEADS", "fork", "list_vms", "ls", "rm", "row", "snapshot"]
