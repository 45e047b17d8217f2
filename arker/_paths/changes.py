"""Changes of directories: paths made, removed, renamed, copied; permissions and owners."""

from __future__ import annotations

import logging
from typing import Final

from arker._basics.programs import shell_program
from arker._context import Place
from arker._files.refusals import path_command
from arker._lifecycle.sdk_session import run_in_own_session
from arker._paths.checks import check_mode, check_owner, check_path, check_target
from arker._paths.shell import PathShell
from arker._protocol.identifiers import new_ulid
from arker._tasks.cleanup import clean_up
from arker.errors import ArkerError, InvalidArgumentError, RemoteFileError, RemoteFileNotFoundError
from arker.models import _checks as check

logger = logging.getLogger("arker")

_CHMOD: Final = shell_program(__package__, "chmod.sh")
_CHOWN: Final = shell_program(__package__, "chown.sh")
COPY: Final = shell_program(__package__, "copy.sh")
_DISCARD: Final = shell_program(__package__, "discard.sh")
_MKDIR: Final = shell_program(__package__, "mkdir.sh")
_REMOVE: Final = shell_program(__package__, "remove.sh")
_RENAME: Final = shell_program(__package__, "rename.sh")
_RMDIR: Final = shell_program(__package__, "rmdir.sh")
_RMTREE: Final = shell_program(__package__, "rmtree.sh")
_SYMLINK: Final = shell_program(__package__, "symlink.sh")
_TOUCH: Final = shell_program(__package__, "touch.sh")


async def mkdir(
    place: Place, path: object, *, mode: int | None, parents: bool, exist_ok: bool, deadline: float | None
) -> None:
    """Make a directory; see `AsyncFiles.mkdir`."""
    where, bits = check_path(path), check_mode(mode)
    above, fine = check.check_boolean("parents", parents), check.check_boolean("exist_ok", exist_ok)
    shell = PathShell(place, "mkdir")
    with shell.within(deadline):
        await shell.change(_MKDIR, [where, bits, "1" if above else "", "1" if fine else ""], [where])


async def remove(
    place: Place, path: object, *, missing_ok: bool, deadline: float | None, operation: str = "remove"
) -> None:
    """Remove a file or a symlink, an empty directory, or a directory with its content; see `AsyncFiles`."""
    where, fine = check_path(path), check.check_boolean("missing_ok", missing_ok)
    text = {"remove": _REMOVE, "rmdir": _RMDIR, "rmtree": _RMTREE}[operation]
    shell = PathShell(place, operation)
    with shell.within(deadline):
        try:
            await shell.change(text, [where], [where])
        except RemoteFileNotFoundError:
            if not fine:
                raise


async def rename(place: Place, path: object, target: object, operation: str, *, deadline: float | None) -> None:
    """Rename a path; see `AsyncFiles.rename`."""
    source, goal = check_path(path), check_path(target, "target")
    shell = PathShell(place, operation)
    with shell.within(deadline):
        exact = "mv-t" if "mv-t" in await shell.tools() else ""
        await shell.change(_RENAME, [source, goal, exact], [source, goal])


async def copy(place: Place, path: object, target: object, *, recursive: bool, deadline: float | None) -> None:
    """Copy a file or a directory; see `AsyncFiles.copy`."""
    source, goal = check_path(path), check_path(target, "target")
    whole = check.check_boolean("recursive", recursive)
    shell = PathShell(place, "copy")
    with shell.within(deadline):
        # As the program would say it: the path up to its last slash. A directory's own may end with one.
        name = goal.rstrip("/") if whole else goal
        above = name.rpartition("/")[0] or "/" if "/" in name else "."
        made = f"{above}/.arker-{new_ulid()}"
        try:
            await shell.change(COPY, [source, goal, "1" if whole else "", made], [source, goal])
        except RemoteFileError:
            raise
        except BaseException:  # the program may have been killed
            await clean_up(_discarded(place, made))
            raise


async def _discarded(place: Place, path: str) -> None:
    try:
        await run_in_own_session(place, path_command(_DISCARD, [path]))
    except ArkerError as error:
        logger.debug("a temporary file may be left in the VM: %s", error)


async def chmod(place: Place, path: object, mode: int, *, deadline: float | None) -> None:
    """Set permissions; see `AsyncFiles.chmod`."""
    where, bits = check_path(path), check_mode(mode)
    if not bits:
        raise InvalidArgumentError("mode", mode, "expected permission bits, such as 0o755")
    shell = PathShell(place, "chmod")
    with shell.within(deadline):
        await shell.change(_CHMOD, [where, bits], [where])


async def chown(
    place: Place, path: object, owner: object, group: object, *, follow_symlinks: bool, deadline: float | None
) -> None:
    """Set the owner and the group; see `AsyncFiles.chown`."""
    where = check_path(path)
    user, crowd = check_owner("owner", owner), check_owner("group", group)
    if not user and not crowd:
        raise InvalidArgumentError("owner", owner, "expected a number or a name, of the owner or the group at least")
    link = "" if check.check_boolean("follow_symlinks", follow_symlinks) else "-h"
    shell = PathShell(place, "chown")
    with shell.within(deadline):
        await shell.change(_CHOWN, [where, user, crowd, link], [where])


async def symlink(place: Place, target: object, path: object, *, deadline: float | None) -> None:
    """Make a symlink; see `AsyncFiles.symlink`."""
    leads, where = check_target(target), check_path(path)
    shell = PathShell(place, "symlink")
    with shell.within(deadline):
        await shell.change(_SYMLINK, [leads, where], [leads, where])


async def touch(place: Place, path: object, *, exist_ok: bool, deadline: float | None) -> None:
    """Make an empty file, or set its times; see `AsyncFiles.touch`."""
    where = check_path(path)
    new = "" if check.check_boolean("exist_ok", exist_ok) else "new"
    shell = PathShell(place, "touch")
    with shell.within(deadline):
        await shell.change(_TOUCH, [where, new], [where])


__all__ = ["COPY", "chmod", "chown", "copy", "mkdir", "remove", "rename", "symlink", "touch"]
