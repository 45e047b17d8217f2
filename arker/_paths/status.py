"""The status of single paths."""

from __future__ import annotations

import errno
from typing import Final, Literal

from arker._basics.programs import shell_program
from arker._context import Place
from arker._paths.checks import check_path
from arker._paths.records import MisprintError, parse_found, parse_line
from arker._paths.shell import PathShell, program
from arker.entries import FileStat
from arker.errors.remote import remote_file_error
from arker.models import _checks as check

STAT: Final = program(shell_program(__package__, "stat.sh"), links=True)
_TEST: Final = shell_program(__package__, "test.sh")


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


__all__ = ["STAT", "parsed", "readlink", "stat", "test"]
