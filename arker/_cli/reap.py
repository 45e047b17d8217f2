"""``arker reap``: delete the VMs of killed programs. It reads a client's settings from the environment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from attrs import evolve

from arker._basics.shown import shown
from arker._cli import output, quantities, running, statuses
from arker._cli.running import FailedError, UsageError
from arker.client import AsyncArker
from arker.config import has_api_key
from arker.errors import ArkerError
from arker.reports import ReapReport


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns exit status 1 if some VM could not be cleaned up, 2 if nothing could be tried."""
    parser = argparse.ArgumentParser(prog="arker reap", description="Delete the VMs that killed programs left.")
    parser.add_argument("--dry-run", action="store_true", help="only say what there is")
    parser.add_argument(
        "--older-than", metavar="TIME", help="also of other machines, when older than a time such as 1d"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    return running.run(_reap(older_than=options.older_than, dry_run=options.dry_run, json=options.json))


async def _reap(*, older_than: str | None, dry_run: bool, json: bool) -> int:
    # Anything is older than no time at all.
    age = 0.0 if older_than == "0" else quantities.seconds("--older-than", older_than)
    if not has_api_key():
        raise UsageError("an API key is required: set ARKER_API_KEY")
    try:
        async with AsyncArker() as client:
            if client.ledger is None:
                raise UsageError("the ledger of forks is off (ARKER_LEDGER)")
            report = await client.reap(older_than=age, dry_run=dry_run)
    except ArkerError as error:
        raise FailedError(running.words(error), statuses.USAGE) from error
    if json:
        told = output.as_json(evolve(report, failed=()))
        told["failed"] = [
            {**output.as_json(evolve(each, error=None)), "error": str(each.error)} for each in report.failed
        ]
        output.print_json(told)
    else:
        output.write("".join(f"{shown(line)}\n" for line in _lines(report)), foreign=False)
    return statuses.FAILED if report.failed else statuses.DONE


def _lines(report: ReapReport) -> list[str]:
    done = "would delete" if report.dry_run else "deleted"
    lines = [f"{done} {left.vm_id or f'the VM of key {left.idempotency_key}'}" for left in report.deleted]
    lines += [f"gone {left.vm_id or f'the VM of key {left.idempotency_key}'}" for left in report.gone]
    lines += [f"failed {left.vm_id or f'key {left.idempotency_key}'}: {left.error}" for left in report.failed]
    lines.append(
        f"{len(report.deleted)} {done}, {len(report.gone)} gone, {len(report.failed)} failed; "
        f"left alone: {report.living} in use or with time left, {report.elsewhere} of other machines"
    )
    return lines


__all__ = ["main"]
