"""The download of a directory from a VM: list both sides, compare, download to a staging directory, then move."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arker._directories.apply import apply_steps
from arker._directories.entries import STAGING_PREFIX, is_utf8, without_staging
from arker._directories.ignore import compile_patterns, without_ignored
from arker._directories.local import local_path
from arker._directories.plan import Step, make_plan, not_to_be_taken, without_deletions
from arker._directories.script import alias_script
from arker._directories.target import TreeTarget
from arker._directories.work import (
    TRANSFERRED,
    DirectoryWork,
    are_all_there,
    has_work,
    join,
    local_error,
)
from arker._files import whole
from arker._files.many_downloads import download_many
from arker._lifecycle.sdk_session import run_in_own_session
from arker._protocol.identifiers import new_ulid
from arker._tasks.cleanup import carry_through
from arker._tasks.threads import stoppable
from arker.errors import DirectoryConflictError, FileChangedError, TransferError
from arker.errors.remote import remote_file_error

if TYPE_CHECKING:
    from arker.directories import DirectoryReport


async def download_directory(work: DirectoryWork, *, links: bool) -> DirectoryReport:
    """Make the local directory match the VM's."""
    options = work.options
    ignores = compile_patterns(options.patterns)
    local = await work.list_local(ignores, absent_is_right=True)
    remote = without_ignored(await work.list_remote(local, everywhere=True), ignores)
    if remote.root == "absent":
        raise remote_file_error(options.remote, errno.ENOENT)
    remote = without_staging(remote)
    local = await work.with_digests(local, remote)
    left_out = not_to_be_taken(remote, links=links, windows=os.name == "nt")
    steps = make_plan(remote, local, delete=options.delete, left_out=left_out)
    plan = work.report(steps)
    if options.dry_run:
        return plan
    if plan.conflicts:
        raise DirectoryConflictError(plan)
    for path, problem in remote.unreadable.items():
        work.fail(path, TransferError(f"the VM could not list what it holds: {problem}"))
    if has_work(steps) or local.root == "absent":
        steps = await _change(work, steps, made=local.root == "absent")
    else:
        work.nothing_moves()
    return work.report(steps)


async def _change(work: DirectoryWork, steps: list[Step], *, made: bool) -> list[Step]:
    """Download and apply the changes, and return them. The staging directories are removed in every case.

    Args:
        work: The transfer.
        steps: The changes.
        made: Whether the directory is made for it. Then it does not stay, empty, if that fails.
    """
    root, staging = work.options.local, f"{STAGING_PREFIX}{new_ulid()}"

    def begin() -> tuple[TreeTarget, str]:
        os.makedirs(root, exist_ok=True)
        target = TreeTarget(root)
        try:
            return target, target.make_staging(staging)
        except BaseException:
            target.close()
            raise

    def end() -> None:
        target.remove_staging(staging)
        target.close()
        if made and work.state.outcome != "applied":
            with suppress(OSError):  # something is in it
                os.rmdir(target.root)

    try:
        target, where = begin()
    except OSError as error:
        raise work.state.complete(local_error(error, root)) from None
    try:
        staged = await _download(work, steps, staging, where)
        if not are_all_there(steps, staged):
            steps = without_deletions(steps, staged)
        work.state.in_flight = True
        failed = await stoppable(lambda check: apply_steps(target, steps, staged, staging, check))
        work.state.in_flight, work.state.outcome = False, "applied"
    finally:
        await carry_through(stoppable(lambda _: end()))
    for path, problem in failed.items():
        work.fail(path, local_error(problem, local_path(root, path)))
    return steps


async def _download(work: DirectoryWork, steps: list[Step], staging: str, where: str) -> dict[str, str]:
    """Download the files, and return the staged path of each one in the local directory."""
    files = [step for step in steps if step.action in TRANSFERRED]
    if not files:
        work.nothing_moves()
        return {}
    strange = [step.path for step in files if not is_utf8(step.path)]
    if not strange:
        return await _fetch(work, files, {}, staging, where)
    # These names cannot be sent: symlinks with other names lead to the files. They are in the home directory.
    try:
        script = alias_script(work.options.remote, staging, strange)
        await whole.write(work.place, f"{staging}/script", memoryview(script.text))
        await run_in_own_session(work.place, ["sh", f"{staging}/script", *script.arguments])
        aliases = {path: f"{staging}/{number}" for number, path in enumerate(strange)}
        return await _fetch(work, files, aliases, staging, where)
    finally:
        await work.remove_remote(staging)


async def _fetch(
    work: DirectoryWork, files: list[Step], aliases: dict[str, str], staging: str, where: str
) -> dict[str, str]:
    outcomes = await download_many(
        work.place,
        [
            (aliases.get(step.path) or join(work.options.remote, step.path), os.path.join(where, str(number)))
            for number, step in enumerate(files)
        ],
        concurrency=work.options.concurrency,
        progress=work.progress(),
    )
    staged: dict[str, str] = {}
    for number, (step, outcome) in enumerate(zip(files, outcomes, strict=True)):
        if not work.take(step, outcome):
            continue
        if outcome.size != step.entry.size:
            problem = (
                f"it had {step.entry.size} bytes when the directory was listed, and {outcome.size} when it was read"
            )
            work.fail(step.path, FileChangedError(problem), size=outcome.size)
        else:
            staged[step.path] = f"{staging}/{number}"
    return staged


__all__ = ["download_directory"]
