"""``arker logs`` and ``arker runs``: runs, and what they have written."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from arker import models
from arker._cli import output, own_runs, statuses
from arker._cli.connection import Where, connected
from arker._cli.readers import while_read
from arker._cli.running import FailedError, UsageError
from arker._tasks.threads import in_thread
from arker.client import AsyncArker
from arker.run import OutputChunk
from arker.vm import AsyncVM

_ROWS = 200
"""Rows of the organisation's list that are looked through for a run."""


async def logs(
    run: str,
    /,
    *,
    vm: str | None = None,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"))] = False,
    json: bool = False,
    where: Where = None,
) -> int:
    """Print what a run has written so far, to standard output and to standard error.

    Args:
        run: Id of the run.
        vm: Id or name of its VM; without, it is looked for in the organisation's list of runs.
        follow: Go on until the run has ended.
        json: Print all fields and the output as JSON.
        where: Where VMs are.
    """
    if follow and json:
        raise UsageError("logs: --follow does not go with --json")
    async with connected(where) as client:
        machine = await client.find_vm(vm) if vm is not None else await _vm_of(client, run)
        if follow:
            async with while_read():
                async for chunk in machine.attach_run(run).output():
                    await in_thread(write, chunk)
            return statuses.DONE
        found = await machine.get_run(run)
    if json:
        output.print_json(own_runs.as_given(found))
    else:
        write(OutputChunk("stdout", found.stdout))
        write(OutputChunk("stderr", found.stderr))
    return statuses.DONE


async def _vm_of(client: AsyncArker, run: str) -> AsyncVM:
    """Find the VM of a run in the organisation's list."""
    found = await client.list_runs(search=run, limit=_ROWS, lite=True)
    ids = {row.vm_id for row in found.rows if row.run_id == run and row.vm_id}
    for vm_id in ids:
        return await client.find_vm(vm_id)
    raise FailedError(f"there is no run {run} among the organisation's latest: if it is older, name its VM with --vm")


def write(chunk: OutputChunk) -> None:
    """Write a piece of a run's output, unchanged, to where it belongs."""
    output.write_bytes(sys.stdout if chunk.stream == "stdout" else sys.stderr, chunk.data)


async def runs(
    vm: str,
    /,
    *,
    state: Literal["pending", "running", "completed", "failed", "cancelled"] | None = None,
    limit: int | None = None,
    every: Annotated[bool, Parameter(name=("--all", "-a"))] = False,
    json: bool = False,
    where: Where = None,
) -> int:
    """List a VM's runs, newest first.

    Args:
        vm: Id or name of the VM.
        state: Only runs in this state.
        limit: At most so many.
        every: Also the client's own, such as those of `arker cp`; and all commands as they were sent.
        json: Print all fields as JSON.
        where: Where VMs are.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: expected at least 1")
    async with connected(where) as client:
        machine = await client.find_vm(vm)
        found: list[models.RunSummary] = []
        size = None if limit is None or not every else min(limit, 1000)
        async for each in machine.iter_runs(state=state, page_size=size):
            if not every and own_runs.is_own(each.command):
                continue
            found.append(each if every else own_runs.as_given(each))
            if len(found) == limit:
                break
    if json:
        output.print_json(found)
    else:
        output.print_table(HEADS, [row(each) for each in found])
    return statuses.DONE


HEADS = ("RUN", "STATE", "EXIT", "AGE", "COMMAND")
"""The heads of the table of runs."""


def row(run: models.RunSummary) -> tuple[str, ...]:
    """Return the row of a run in the table of runs."""
    code = "" if run.exit_code is None else str(run.exit_code)
    command = (run.command or "").strip().partition("\n")[0]
    return (run.run_id, run.state or "", code, output.age(run.started_at), command)


__all__ = ["HEADS", "logs", "row", "runs", "write"]
