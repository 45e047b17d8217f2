"""``arker cp``: files and directories, into a VM and out of it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from attrs import frozen
from cyclopts import Parameter

from arker._cli import output, standard_input, statuses
from arker._cli.connection import Where, connected
from arker._cli.running import UsageError, complain
from arker._tasks.threads import in_thread
from arker.vm import AsyncVM

if TYPE_CHECKING:
    import arker

_REMOTE: Final = re.compile(r"([^/:]+):(.*)", re.DOTALL)


@frozen
class Side:
    """The source or the target of a copy.

    Attributes:
        vm: The VM's id or name; None for this machine.
        path: The path; ``-`` on this machine is standard input or output.
    """

    vm: str | None
    path: str

    @classmethod
    def of(cls, text: str) -> Side:
        """Read a side as it is written: ``VM:PATH``, a local path, or ``-``. A path with a colon begins with ``./``."""
        match = _REMOTE.fullmatch(text)
        return cls(None, text) if match is None else cls(match[1], match[2])

    @property
    def streams(self) -> bool:
        """Whether it is standard input or output."""
        return self.vm is None and self.path == "-"


async def cp(
    source: Annotated[str, Parameter(allow_leading_hyphen=True)],
    target: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    ignore: tuple[str, ...] = (),
    delete: bool = False,
    dry_run: bool = False,
    symlinks: bool = False,
    recursive: Annotated[bool, Parameter(name=("--recursive", "-r"))] = False,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"))] = False,
    where: Where = None,
) -> int:
    """Copy a file or a directory into a VM or out of it: one side is VM:PATH, the other a local path, or - for a pipe.

    As with `cp -r`: into a target that is a directory goes the source under its own name, and a directory whose path
    ends with /. or .. goes there by its content. Of a directory only differences are copied. A file appears whole or
    not at all. A relative path in a VM starts at the home directory.

    Args:
        source: Where from.
        target: Where to.
        ignore: Pattern in gitignore syntax of paths in a directory that are left out; may be given several times.
        delete: Delete in the target directory what the source does not have.
        dry_run: Of a directory, only say what would be done.
        symlinks: Out of a VM, copy also symlinks that lead out of the directory.
        recursive: Accepted as other programs have it; a directory is copied with all that is in it anyway.
        quiet: Draw no progress bar.
        where: Where VMs are.
    """
    del recursive
    here, there = Side.of(source), Side.of(target)
    if (here.vm is None) == (there.vm is None):
        message = f"cp: expected VM:PATH on one side and a local path or - on the other, got {source} {target}"
        if any(":" in text.lstrip("./") for text in (source, target)):
            message += " (a VM with a colon or a slash in its name is given by its id)"
        raise UsageError(message)
    options = {"ignore": ignore, "delete": delete, "dry_run": dry_run}
    given = [name for name, value in {**options, "symlinks": symlinks}.items() if value]
    async with connected(where) as client:
        remote, local = (here, there) if here.vm is not None else (there, here)
        vm = await client.find_vm(str(remote.vm))
        with _bar(quiet=quiet or local.streams) as progress:
            copy = _Copy(vm, remote.path or ".", local.path, options, given, symlinks, progress)
            if here.vm is not None:
                return await (copy.to_output() if local.streams else copy.out())
            return await (copy.from_input() if local.streams else copy.into())


@contextmanager
def _bar(*, quiet: bool) -> Generator[Callable[[Any], object] | None, None, None]:
    """Draw progress, if standard error is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from arker.progress import TransferBar  # brings rich's progress along

    with TransferBar(transient=True) as bar:
        yield bar


@frozen
class _Copy:
    """One copy.

    Attributes:
        vm: The VM.
        remote: The path in it.
        local: The path on this machine.
        options: What is said about directories.
        given: The names of the options of directories that were given.
        symlinks: Whether symlinks that lead out of the directory are copied.
        progress: Takes reports of its progress.
    """

    vm: AsyncVM
    remote: str
    local: str
    options: dict[str, Any]
    given: list[str]
    symlinks: bool
    progress: Callable[[Any], object] | None

    async def into(self) -> int:
        """Copy into the VM."""
        if not await in_thread(os.path.isdir, self.local):
            self._only_for_directories()
            target = await self._target(self.remote, self.local, is_directory=self.vm.files.is_dir)
            await self.vm.upload(self.local, target, mode=await in_thread(_mode, self.local), progress=self.progress)
            return statuses.DONE
        if "symlinks" in self.given:
            raise UsageError("cp: --symlinks is for copies out of a VM")
        target = await self._target(self.remote, self.local, is_directory=self.vm.files.is_dir)
        return _told(await self.vm.upload_dir(self.local, target, progress=self.progress, **self.options))

    async def out(self) -> int:
        """Copy out of the VM."""

        async def is_directory(path: str) -> bool:
            return await in_thread(os.path.isdir, path)

        source = "." if self.remote.rstrip("/") == "~" else self.remote  # the home directory has no name here
        target = await self._target(self.local, source, is_directory=is_directory)
        if not await self.vm.files.is_dir(self.remote):
            self._only_for_directories()
            await self.vm.download(self.remote, target, progress=self.progress)
            return statuses.DONE
        links: Any = "all" if self.symlinks else "inside"
        report = await self.vm.download_dir(self.remote, target, symlinks=links, progress=self.progress, **self.options)
        return _told(report)

    async def _target(self, target: str, source: str, *, is_directory: Callable[[str], Any]) -> str:
        """Return where the source goes: into a target that is a directory, under its own name, if the path says it."""
        name = os.path.basename(source.rstrip("/"))
        if name in ("", ".", ".."):
            return target  # what is called ".." below it is the directory above it
        if target.endswith("/") or await is_directory(target):
            return os.path.join(target, name)
        return target

    def _only_for_directories(self) -> None:
        if self.given:
            option = self.given[0].replace("_", "-")
            raise UsageError(f"cp: --{option} is for directories, and the source is a file")

    async def from_input(self) -> int:
        """Copy standard input into the VM."""
        self._only_for_directories()
        await self.vm.upload(_whole(), self.remote)
        return statuses.DONE

    async def to_output(self) -> int:
        """Copy a file of the VM to standard output."""
        self._only_for_directories()
        async with self.vm.open_read(self.remote) as stream:
            async for piece in stream:
                await in_thread(output.write_bytes, sys.stdout, piece)
        return statuses.DONE


async def _whole() -> AsyncIterator[bytes]:
    async for piece in standard_input.pieces():
        yield piece


def _mode(path: str) -> int | None:
    """Return a file's permissions; None if it cannot be looked at, which the transfer says better."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return None


def _told(report: arker.DirectoryReport) -> int:
    """Say what was not copied, and in a dry run all."""
    if report.dry_run:
        output.write(f"{report}\n")
    for entry in report.skipped:
        complain(f"skipped {entry.shown_path}: {entry.reason}")
    for failure in report.failures:
        complain(f"failed {failure.path}: {failure.error}")
    return statuses.FAILED if report.failures else statuses.DONE


__all__ = ["Side", "cp"]
