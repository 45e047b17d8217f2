"""The execution of a plan's steps in a local directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from arker._directories.entries import ancestors

if TYPE_CHECKING:
    from arker._directories.plan import Step
    from arker._directories.target import TreeTarget


def apply_steps(
    target: TreeTarget,
    steps: Sequence[Step],
    staged: Mapping[str, str],
    staging: str,
    check: Callable[[], None],
) -> dict[str, OSError]:
    """Carry out the steps, and return the paths that failed, each with the system's error. The other steps are done.

    Args:
        target: The directory.
        steps: The steps; parents come before their content.
        staged: Where each file was staged in the directory, by its path; steps for other files are skipped.
        staging: The staging directory in it.
        check: Called before each step; an exception from it ends the work.
    """
    failed: dict[str, OSError] = {}

    def attempt(path: str, action: Callable[..., None], *arguments: object) -> None:
        check()
        if any(above in failed for above in ancestors(path)):
            return  # its parent directory is missing, which is already a failure
        try:
            action(*arguments)
        except OSError as error:
            failed.setdefault(path, error)

    for step in reversed(steps):
        if step.action == "delete":
            remove = target.remove_directory if step.entry.kind == "directory" else target.remove
            attempt(step.path, remove, step.path)
    for number, step in enumerate(steps):
        is_copied = step.path in staged
        if not is_copied and step.action not in {"mkdir", "symlink"}:
            continue
        there = step.target
        if there is not None and there.kind != step.entry.kind and "directory" in {there.kind, step.entry.kind}:
            attempt(step.path, target.remove_directory if there.kind == "directory" else target.remove, step.path)
        if step.path in failed:
            continue
        if step.action == "mkdir":
            attempt(step.path, target.make_directory, step.path)
        elif step.action == "symlink":
            attempt(step.path, target.symlink, step.entry.target, step.path, f"{staging}/link-{number}")
        else:
            attempt(step.path, target.put, staged[step.path], step.path, step.entry.mode)
    for step in reversed(steps):
        if step.action in {"mkdir", "chmod"} and step.entry.mode is not None and step.path not in failed:
            attempt(step.path, target.chmod, step.path, step.entry.mode)
    return failed


__all__ = ["apply_steps"]
