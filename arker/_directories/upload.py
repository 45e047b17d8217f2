"""The upload of a local directory into a VM: list both sides, compare, upload to a staging directory, then move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._directories.entries import STAGING_PREFIX, without_staging
from arker._directories.ignore import compile_patterns, without_ignored
from arker._directories.local import local_path, unreadable_error
from arker._directories.manifest import operand
from arker._directories.plan import Step, make_plan, without_deletions
from arker._directories.script import build_script, parse_report, staging_places
from arker._directories.work import (
    TRANSFERRED,
    DirectoryWork,
    are_all_there,
    has_work,
    join,
    local_error,
)
from arker._files import whole
from arker._files.many import upload_many
from arker._lifecycle.sdk_session import run_in_own_session
from arker._protocol.identifiers import new_ulid
from arker.errors import BadReplyError, DirectoryConflictError, TransferError

if TYPE_CHECKING:
    from arker.directories import DirectoryReport


async def upload_directory(work: DirectoryWork) -> DirectoryReport:
    """Make the VM's directory match the local one."""
    options = work.options
    ignores = compile_patterns(options.patterns)
    local = without_staging(await work.list_local(ignores, absent_is_right=False))
    remote = without_ignored(await work.list_remote(local, everywhere=options.delete), ignores)
    local = await work.with_digests(local, remote)
    steps = make_plan(local, remote, delete=options.delete)
    plan = work.report(steps)
    if options.dry_run:
        return plan
    if plan.conflicts:
        raise DirectoryConflictError(plan)
    for path, problem in local.unreadable.items():
        work.fail(path, local_error(unreadable_error(problem), local_path(options.local, path)))
    if has_work(steps) or remote.root == "absent":
        steps = await _change(work, steps, made=remote.root == "absent")
    else:
        work.nothing_moves()
    return work.report(steps)


async def _change(work: DirectoryWork, steps: list[Step], *, made: bool) -> list[Step]:
    """Upload and apply the changes, and return them. The staging directory is removed in every case.

    Args:
        work: The transfer.
        steps: The changes.
        made: Whether the directory is made for it. Then it does not stay, empty, if that fails.
    """
    staging = f"{STAGING_PREFIX}{new_ulid()}"
    where = join(work.options.remote, staging)
    try:
        places = await _upload(work, steps, where)
        if not are_all_there(steps, places):
            steps = without_deletions(steps, places)
        await _put_into_place(work, steps, staging, places)
    except BaseException:
        await work.remove_remote(where, above=work.options.remote if made else "")
        raise
    return steps


async def _upload(work: DirectoryWork, steps: list[Step], where: str) -> dict[str, str]:
    """Upload the files, and return the staged path of each one."""
    places = staging_places(steps)
    files = [step for step in steps if step.action in TRANSFERRED]
    if not files:
        work.nothing_moves()
        return {}
    outcomes = await upload_many(
        work.place,
        [(local_path(work.options.local, step.path), f"{where}/{places[step.path]}") for step in files],
        concurrency=work.options.concurrency,
        progress=work.progress(),
        checksum=work.options.checksum,
    )
    return {
        step.path: places[step.path] for step, outcome in zip(files, outcomes, strict=True) if work.take(step, outcome)
    }


async def _put_into_place(work: DirectoryWork, steps: list[Step], staging: str, places: dict[str, str]) -> None:
    """Move the files into place by one command. This is the last step and the only one that changes the directory."""
    script = build_script(work.options.remote, staging, steps, places)
    where = f"{join(work.options.remote, staging)}/script"
    await whole.write(work.place, where, memoryview(script.text))
    work.state.in_flight = True
    result = await run_in_own_session(work.place, ["sh", operand(where), *script.arguments])
    try:
        problems = parse_report(result.stdout, script)
    except BadReplyError as error:
        said = work.place.redact(result.stderr_text.strip()[-300:] or result.fail_reason or "nothing")
        message = f"{error.message} (exit code {result.exit_code}; it said: {said})"
        raise error.with_context(message=message) from None
    work.state.in_flight, work.state.outcome = False, "applied"
    sizes = {step.path: step.entry.size for step in steps if step.entry.kind == "file"}
    for path, problem in problems.items():
        message = work.place.redact(f"the VM could not put it into place: {problem}")
        work.fail(path, TransferError(message, outcome="unknown"), size=sizes.get(path))


__all__ = ["upload_directory"]
