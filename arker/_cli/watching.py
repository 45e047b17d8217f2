"""``arker watch``: VMs and their runs, as they change."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

from attrs import frozen

from arker import models
from arker._cli import inspecting, machines, output, own_runs, quantities, statuses
from arker._cli.connection import Where, connected
from arker._cli.readers import while_read
from arker._tasks import clock
from arker.client import AsyncArker
from arker.errors import NotFoundError

_VMS: Final = 50
"""VMs that are shown when none is named."""
_RUNS: Final = 10
"""Runs that are shown of a VM."""
_LOOKED_THROUGH: Final = 50
"""Its latest runs among which these are, besides the client's own."""
_AT_ONCE: Final = 8


@frozen
class _Look:
    """What there is at one time.

    Attributes:
        vms: VMs, newest first.
        runs: The latest runs of those in which something goes on, or has gone on at the look before.
    """

    vms: Sequence[models.Vm]
    runs: Sequence[tuple[models.Vm, models.RunSummary]] = ()

    @property
    def busy(self) -> set[str]:
        """Return the ids of VMs in which something goes on."""
        going_on = {vm.vm_id for vm, run in self.runs if run.state in {"running", "pending"}}
        return going_on | {vm.vm_id for vm in self.vms if vm.state == "running"}


async def watch(
    *vms: str,
    interval: str = "2s",
    once: bool = False,
    json: bool = False,
    where: Where = None,
) -> int:
    """Show VMs and their runs as they change, until Ctrl-C. In a pipe each change is a line.

    Args:
        vms: Ids or names of VMs; without, the latest 50 of all regions.
        interval: Time between two looks.
        once: Show what there is now, and end.
        json: Print each change as a line of JSON.
        where: Where VMs are.
    """
    pause = quantities.seconds("--interval", interval) or 2.0
    async with connected(where) as client:
        ids = [(await client.find_vm(name)).id for name in vms]
        look = await _look(client, ids, set())
        if once:
            _print_once(look, json=json)
        elif json or not sys.stdout.isatty():
            async with while_read():
                await _lines(client, ids, look, pause, json=json)
        else:
            await _live(client, ids, look, pause)
    return statuses.DONE


async def _look(client: AsyncArker, ids: Sequence[str], before: set[str]) -> _Look:
    places = asyncio.Semaphore(_AT_ONCE)

    async def vm_of(vm_id: str) -> models.Vm | None:
        async with places:
            try:
                return (await client.get_vm(vm_id)).data
            except NotFoundError:
                return None

    if ids:
        found = await asyncio.gather(*(vm_of(vm_id) for vm_id in ids))
        vms = [vm for vm in found if vm is not None]
    else:
        vms = await machines.list_vms(client, limit=_VMS)

    async def runs_of(vm: models.Vm) -> list[tuple[models.Vm, models.RunSummary]]:
        async with places:
            try:
                page = await client.vm(vm.vm_id).list_runs(limit=_LOOKED_THROUGH)
            except NotFoundError:  # deleted meanwhile
                return []
        given = [(vm, own_runs.as_given(run)) for run in page if not own_runs.is_own(run.command)]
        return given[:_RUNS]

    look = _Look(vms)
    busy = [vm for vm in vms if ids or vm.vm_id in look.busy | before]
    found_runs = await asyncio.gather(*(runs_of(vm) for vm in busy))
    return _Look(vms, [pair for runs in found_runs for pair in runs])


def _tables(look: _Look) -> tuple[tuple[Sequence[str], list[tuple[str, ...]]], ...]:
    runs = [(vm.name or vm.vm_id, *inspecting.row(run)) for vm, run in look.runs]
    return (machines.HEADS, [machines.row(vm) for vm in look.vms]), (("VM", *inspecting.HEADS), runs)


def _print_once(look: _Look, *, json: bool) -> None:
    if json:
        output.print_json({"vms": look.vms, "runs": [run for _, run in look.runs]})
        return
    for heads, rows in _tables(look):
        if rows or heads is machines.HEADS:
            output.print_table(heads, rows)


async def _live(client: AsyncArker, ids: Sequence[str], look: _Look, pause: float) -> None:
    from rich import console, live, text  # an extra, which only a terminal needs

    def drawn() -> Any:
        parts = [output.table(heads, rows) for heads, rows in _tables(look) if rows or heads is machines.HEADS]
        footer = f"{datetime.now(timezone.utc):%H:%M:%S} UTC, every {pause:g} s; Ctrl-C ends it"
        return console.Group(*parts, text.Text(footer, style="dim"))

    with live.Live(drawn(), console=output.console(), auto_refresh=False, transient=False) as screen:
        while True:
            screen.update(drawn(), refresh=True)
            await clock.sleep(pause)
            look = await _look(client, ids, look.busy)


async def _lines(client: AsyncArker, ids: Sequence[str], look: _Look, pause: float, *, json: bool) -> None:
    known: dict[str, dict[str, Any]] = {}
    while True:
        now = _facts(look)
        for key, facts in now.items():
            if known.get(key) != facts:
                _tell(facts, json=json)
        for key in known.keys() - now.keys():
            if known[key]["kind"] == "vm":
                _tell({**known[key], "state": "gone"}, json=json)
        known = now
        await clock.sleep(pause)
        look = await _look(client, ids, look.busy)


def _facts(look: _Look) -> dict[str, dict[str, Any]]:
    """Return what a line tells of each VM and run, by its id; the oldest first."""
    found: dict[str, dict[str, Any]] = {}
    for vm in reversed(look.vms):
        found[vm.vm_id] = {"kind": "vm", "id": vm.vm_id, "name": vm.name, "state": vm.state}
    for vm, run in reversed(look.runs):
        facts = {"kind": "run", "id": run.run_id, "vm": vm.name or vm.vm_id, "state": run.state}
        found[run.run_id] = {**facts, "exit_code": run.exit_code, "command": run.command}
    return found


def _tell(facts: dict[str, Any], *, json: bool) -> None:
    told = {name: value for name, value in facts.items() if value is not None}
    if json:
        output.print_json(told, line=True)
        return
    command = str(told.pop("command", "")).strip().partition("\n")[0]
    words = [str(told.pop(name, "")) for name in ("kind", "id", "state")]
    words += [f"{name}={value}" for name, value in told.items()]
    output.write("  ".join([*words, command]).rstrip() + "\n")


__all__ = ["watch"]
