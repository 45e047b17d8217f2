"""Shared parts of directory uploads and downloads: arguments, the VM's list, reports, progress."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Container, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import define, field, frozen

from arker._basics.programs import shell_program
from arker._directories import hashes
from arker._directories.entries import Tree, size_ranges
from arker._directories.ignore import check_patterns, hidden_names
from arker._directories.local import digests, local_path, scan, unreadable_error
from arker._directories.manifest import Places, manifest_command, operand, parse_manifest, places_of
from arker._files.checks import check_checksum, check_concurrency, check_path, check_progress
from arker._lifecycle.sdk_session import run_in_own_session
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up
from arker._tasks.threads import stoppable
from arker.directories import DirectoryEntry, DirectoryReport
from arker.errors import ArkerError, InvalidArgumentError, LocalFileError, RemoteFileError, TransferError
from arker.errors.api import is_gone
from arker.errors.remote import remote_file_error
from arker.models import _checks as check
from arker.transfer import FileOutcome, TransferProgress

if TYPE_CHECKING:
    from arker._context import Place
    from arker._directories.entries import Ignores
    from arker._directories.plan import Step
    from arker._transport.attempts import Progress
    from arker.transfer import Direction

logger = logging.getLogger("arker")

TRANSFERRED: Final = frozenset({"create", "update"})
_IDLE: Final = frozenset({"unchanged", "skip"})

_REMOVE: Final = shell_program(__package__, "remove.sh")


@frozen(kw_only=True)
class Options:
    """A caller's options, checked."""

    local: str
    remote: str
    patterns: tuple[str, ...]
    delete: bool
    dry_run: bool
    concurrency: int | None
    progress: Callable[[TransferProgress], object] | None
    checksum: bool = True


def _path_text(argument: str, value: object, what: str) -> str:
    path: object = getattr(value, "__fspath__", lambda: value)()
    if not isinstance(path, str) or not path or "\0" in path:
        raise InvalidArgumentError(argument, value, f"expected {what}, as a string or Path")
    return path


def check_options(
    local: object,
    remote: object,
    ignore: object,
    *,
    delete: bool,
    dry_run: bool,
    concurrency: int | None,
    progress: Callable[[TransferProgress], object] | None,
    checksum: bool = True,
) -> Options:
    """Check the arguments before anything is done."""
    here = _path_text("local", local, "the path of a directory")
    there = check_path(remote, "remote").rstrip("/") or "/"
    check_progress(progress)
    if check.check_boolean("delete", delete):
        for argument, path in {"remote": there, "local": os.path.realpath(here)}.items():
            if os.path.normpath(path) in {"/", "//", os.path.abspath(os.sep)}:
                expected = "expected another directory: with delete=True this one means the whole system"
                raise InvalidArgumentError(argument, path, expected)
    return Options(
        local=here,
        remote=there,
        patterns=check_patterns(ignore),
        delete=delete,
        dry_run=check.check_boolean("dry_run", dry_run),
        concurrency=check_concurrency(concurrency),
        progress=progress,
        checksum=check_checksum(checksum),
    )


async def read_ignore_file(options: Options, ignore_file: object, state: Progress) -> Options:
    """Return the options with the patterns of a file before the caller's. The last matching pattern decides."""
    path = os.path.join(options.local, _path_text("ignore_file", ignore_file, "the path of a file"))

    def read(check: Callable[[], None]) -> list[str]:
        # As git reads it: without a mark of Windows's editors, and a line ends nowhere but at a line feed.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            return [line.removesuffix("\r") for line in file.read().split("\n")]

    try:
        patterns = await stoppable(read)
    except OSError as error:
        raise state.complete(local_error(error, path)) from None
    return attrs.evolve(options, patterns=(*patterns, *options.patterns))


def join(root: str, path: str) -> str:
    """Return a path below a directory in the VM."""
    return f"{root.rstrip('/')}/{path}"


@define
class DirectoryWork:
    """One transfer of a directory, in either direction."""

    place: Place
    options: Options
    direction: Direction
    state: Progress
    failures: list[FileOutcome] = field(factory=list[FileOutcome])
    digest: str | None = None

    async def run(self, work: Coroutine[Any, Any, DirectoryReport]) -> DirectoryReport:
        """Run the transfer. Its errors say what they mean for the whole transfer."""
        try:
            return await work
        except ArkerError as error:
            error.operation = self.state.operation
            error.vm_id = error.vm_id or self.place.vm_id
            self._name(error, self._redact(self.options.remote))
            if not self.state.may_have_begun:
                error.outcome = "not_started"  # the command before it changed nothing
            raise

    async def list_local(self, ignores: Ignores, *, absent_is_right: bool) -> Tree:
        """List the local directory."""
        root = self.options.local
        try:
            tree = await stoppable(lambda check: scan(root, ignores, check))
        except OSError as error:
            raise local_error(error, root) from None
        if tree.root == "other":
            raise local_error(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), root)
        if tree.root == "absent" and not absent_is_right:
            raise local_error(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), root)
        if "" in tree.unreadable:
            raise local_error(unreadable_error(tree.unreadable[""]), root)
        return tree

    async def list_remote(self, local: Tree, *, everywhere: bool) -> Tree:
        """List the VM's directory, with digests of files that may be equal to local ones.

        Args:
            local: The local tree.
            everywhere: Whether other entries in the VM matter as well.
        """
        sizes = {entry.size for entry in local.entries.values() if entry.kind == "file"}
        places = None if everywhere else places_of(local)
        if await hashes.are_known(self.place, self.options.remote):
            tree = await self._list(places, [])
            known = await hashes.with_hashes(self.place, self.options.remote, tree, local)
            if known is not None:
                return known
        return await self._list(places, size_ranges(sizes))

    async def _list(self, places: Places | None, sizes: Sequence[tuple[int, int]]) -> Tree:
        hidden = hidden_names(self.options.patterns)
        command = manifest_command(self.options.remote, sizes, hidden=hidden, places=places)
        result = await run_in_own_session(self.place, command)
        if result.exit_code != 0 or result.state != "completed":
            problem = self._redact(result.stderr_text.strip()[-300:] or result.fail_reason or "")
            raise TransferError(f"the VM could not list {self.options.remote}: exit code {result.exit_code}: {problem}")
        tree = parse_manifest(result.stdout, everywhere=places is None)
        if tree.root == "other":
            raise remote_file_error(self.options.remote, errno.ENOTDIR)
        if "" in tree.unreadable:
            raise remote_file_error(self.options.remote, errno.EACCES)
        return tree

    async def with_digests(self, local: Tree, remote: Tree) -> Tree:
        """Return the local tree with digests of the files that may be equal to the VM's."""
        tool = remote.digest
        paths = [
            path
            for path, entry in remote.entries.items()
            if entry.digest is not None and path in local.entries and local.entries[path].size == entry.size
        ]
        if tool is None or not paths:
            return local
        self.digest = tool
        made = await stoppable(lambda check: digests(self.options.local, paths, tool, check))
        entries = {
            path: attrs.evolve(entry, digest=made[path]) if path in made else entry
            for path, entry in local.entries.items()
        }
        return attrs.evolve(local, entries=entries)

    def report(self, steps: Iterable[Step]) -> DirectoryReport:
        return DirectoryReport(
            direction=self.direction,
            local=self.options.local,
            remote=self.options.remote,
            entries=tuple(
                DirectoryEntry(
                    path=step.path,
                    action=step.action,
                    kind=step.entry.kind,
                    size=step.entry.size,
                    reason=step.reason,
                )
                for step in steps
            ),
            failures=tuple(self.failures),
            digest=self.digest,
            dry_run=self.options.dry_run,
        )

    def fail(self, path: str, error: ArkerError, *, size: int | None = None) -> None:
        """Record the failure of one path; the others continue."""
        error.operation = self.state.operation
        error.vm_id = error.vm_id or self.place.vm_id
        error.file = error.file or self._redact(join(self.options.remote, path))
        outcome = FileOutcome(
            path=join(self.options.remote, path),
            local=local_path(self.options.local, path),
            size=size,
            error=error,
            seconds=0.0,
        )
        self.failures.append(outcome)

    def take(self, step: Step, outcome: FileOutcome) -> bool:
        """Return whether a file was transferred. A failure is recorded under the path that the caller knows."""
        if outcome.error is None:
            return True
        path, local = join(self.options.remote, step.path), local_path(self.options.local, step.path)
        if outcome.error.file is not None:  # else it is about several files
            self._name(outcome.error, self._redact(path))
        outcome.error.operation = self.state.operation
        if isinstance(outcome.error, LocalFileError):
            outcome.error.filename, own = local, outcome.error.filename
            outcome.error.args = (*outcome.error.args[:2], local)
            self._replace(outcome.error, own, local)
        self.failures.append(attrs.evolve(outcome, path=path, local=local))
        return False

    def _name(self, error: ArkerError, path: str) -> None:
        """Name the caller's path in an error that may be about a file of the SDK's own, beside the directory."""
        own, error.file = error.file, path
        if isinstance(error, RemoteFileError):
            error.filename = path
            self._replace(error, own, path)

    @staticmethod
    def _replace(error: ArkerError, own: str | None, path: str) -> None:
        if own is not None and error.message.startswith(f"{own}: "):
            error.message = path + error.message.removeprefix(own)

    def progress(self) -> Callable[[TransferProgress], object] | None:
        """Report the progress of many files as progress of the directory."""
        told = self.options.progress
        if told is None:
            return None

        def tell(progress: TransferProgress) -> object:
            return told(attrs.evolve(progress, operation=self.state.operation, path=self.options.remote))

        return tell

    def nothing_moves(self) -> None:
        """Report that no files are to be copied, so that a progress bar reaches its end."""
        if self.options.progress is not None:
            progress = TransferProgress(
                operation=self.state.operation,
                vm_id=self.place.vm_id,
                path=self.options.remote,
                direction=self.direction,
                done=0,
                total=0,
                files_done=0,
                files_total=0,
            )
            self.place.context.observer.tell("progress", self.options.progress, progress)

    async def remove_remote(self, path: str, *, above: str = "") -> None:
        """Remove a staging directory in the VM, whatever the result of the transfer.

        Args:
            path: The directory.
            above: The directory that it is in, if that is to be removed as well when it is empty.
        """
        await clean_up(self._remove_remote(path, above))

    async def _remove_remote(self, path: str, above: str) -> None:
        command = ["sh", "-c", _REMOVE, "sh", operand(path), operand(above)]
        try:
            await run_in_own_session(self.place, command, deadline=CLEANUP_SECONDS)
        except ArkerError as error:
            if is_gone(error):
                return  # the VM is gone, and its files with it
            logger.warning("%s in VM %s could not be removed and may still be there: %s", path, self.place.vm_id, error)

    def _redact(self, text: str) -> str:
        return self.place.redact(text)


def has_work(steps: Sequence[Step]) -> bool:
    """Return whether anything is to be changed."""
    return any(step.action not in _IDLE for step in steps)


def are_all_there(steps: Sequence[Step], copied: Container[str]) -> bool:
    """Return whether all files of these steps are there to be put into place."""
    return all(step.path in copied for step in steps if step.action in TRANSFERRED)


def local_error(error: OSError, path: str) -> LocalFileError:
    """Return the system's message about a local path."""
    wrapped = LocalFileError(error, path)
    wrapped.__cause__ = error
    return wrapped


__all__ = [
    "TRANSFERRED",
    "DirectoryWork",
    "Options",
    "are_all_there",
    "check_options",
    "has_work",
    "join",
    "local_error",
    "read_ignore_file",
]
