"""The status of single paths."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final, Literal

from arker._basics.programs import shell_program
from arker._context import Place
from arker._paths.checks import check_path
from arker._paths.records import MisprintError, parse_found, parse_line, text_of
from arker._paths.shell import PathShell, program
from arker.entries import FileStat
from arker.errors.remote import remote_file_error
from arker.models import _checks as check

STAT: Final = program(shell_program(__package__, "stat.sh"), links=True)
STATS: Final = shell_program(__package__, "stats.sh")
_TEST: Final = shell_program(__package__, "test.sh")

_MOST_PATHS: Final = 400
_MOST_LETTERS: Final = 16 * 1024
"""Of paths in one command, which every server is to take in one line."""


async def stat(
    place: Place, path: object, *, follow_symlinks: bool, deadline: float | None, operation: str = "stat"
) -> FileStat:
    """Read the status of a path; see `AsyncFiles.stat`."""
    where = check_path(path)
    follow = check.check_boolean("follow_symlinks", follow_symlinks)
    shell = PathShell(place, operation)
    with shell.within(deadline):
        tool = await shell.lister()
        result = await shell.run(STAT, [tool, "follow" if follow else "", where], [where])
    try:
        return parsed(tool, result.stdout, links=not follow)
    except MisprintError as error:
        raise shell.wrong(str(error)) from None


def parsed(tool: str, output: bytes, *, links: bool) -> FileStat:
    """Parse what the program prints. Raises `MisprintError`.

    Args:
        tool: The tool that it used.
        output: Its output.
        links: Whether symlinks were not followed.
    """
    fields = output.split(b"\0")
    if len(fields) != (3 if tool == "find" else 4):
        raise MisprintError("it has another number of fields")
    if tool == "find":
        return parse_found(fields[0], fields[1], links=links)
    return parse_line(*fields[:3])


async def stats(place: Place, paths: Sequence[str], operation: str) -> dict[str, FileStat]:
    """Read the status of several paths, symlinks followed, by few commands. Those that lead to nothing are left out.

    Args:
        place: The VM.
        paths: The paths.
        operation: The name of the method of `AsyncFiles`.
    """
    shell = PathShell(place, operation)
    found: dict[str, FileStat] = {}
    batch: list[str] = []
    letters = 0
    for path in (*map(check_path, paths), ""):
        if batch and (not path or len(batch) == _MOST_PATHS or letters + len(path) > _MOST_LETTERS):
            tool = await shell.lister()
            result = await shell.run(STATS, [tool, *batch], batch[:1])
            try:
                found.update(parsed_several(tool, result.stdout))
            except MisprintError as error:
                raise shell.wrong(str(error)) from None
            batch, letters = [], 0
        batch.append(path)
        letters += len(path)
    return found


def parsed_several(tool: str, output: bytes) -> dict[str, FileStat]:
    """Parse what the program for several paths prints. Raises `MisprintError`.

    Args:
        tool: The tool that it used.
        output: Its output.
    """
    *fields, end = output.split(b"\0")
    if end or len(fields) % 2:
        raise MisprintError("it is cut short")
    found: dict[str, FileStat] = {}
    for facts, path in zip(fields[::2], fields[1::2], strict=True):
        status = parse_found(facts, b"") if tool == "find" else parse_line(facts, b"", b"N")
        if not status.is_symlink:
            found[text_of(path)] = status
    return found


async def readlink(place: Place, path: object, *, deadline: float | None) -> str:
    """Read where a symlink leads; see `AsyncFiles.readlink`."""
    found = await stat(place, path, follow_symlinks=False, deadline=deadline, operation="readlink")
    if found.target is None:
        raise remote_file_error(place.redact(str(path)), errno.EINVAL).with_context(
            operation="vm.files.readlink", vm_id=place.redact(place.vm_id)
        )
    return found.target


async def test(
    place: Place, path: object, kind: Literal["-e", "-f", "-d"], operation: str, *, deadline: float | None
) -> bool:
    """Return whether there is something at a path."""
    where = check_path(path)
    shell = PathShell(place, operation)
    with shell.within(deadline):
        result = await shell.run(_TEST, [kind, where], [where])
    if result.stdout not in (b"0", b"1"):
        raise shell.wrong("neither 0 nor 1")
    return result.stdout == b"1"


__all__ = ["STAT", "STATS", "parsed", "parsed_several", "readlink", "stat", "stats", "test"]
