"""The report of `AsyncVM.upload_dir` and `AsyncVM.download_dir`: what was done, or would be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from attrs import frozen

import arker
from arker.transfer import Direction

DirectoryAction: TypeAlias = Literal[
    "create", "update", "unchanged", "delete", "mkdir", "symlink", "chmod", "skip", "conflict"
]
"""The action for one path.

``create``, ``update``: a file is copied. ``mkdir``: a directory is created. ``symlink``: a symlink is created or
replaced. ``chmod``: only permissions are set. ``delete``: a path that the source does not have is removed.
``unchanged``: nothing. ``skip``: the path is not copied, or not deleted; the entry has the reason. ``conflict``: the
path cannot be copied without removing something, so nothing is done at all.
"""

EntryKind: TypeAlias = Literal["file", "directory", "symlink", "special"]
"""The type of a path; ``special`` is a FIFO, a socket or a device, which are never opened."""


@frozen(kw_only=True)
class DirectoryEntry:
    """One path of a directory and its action.

    Attributes:
        path: Relative to the directory, with ``/``; bytes that are not UTF-8 are surrogates (see `os.fsdecode`).
        action: The action.
        kind: The type of the path (if deleted: the type that it had).
        size: Size of a file in bytes.
        reason: Why the path is skipped or in conflict, or what it replaces; as readable text.
    """

    path: str
    action: DirectoryAction
    kind: EntryKind
    size: int = 0
    reason: str | None = None

    @property
    def shown_path(self) -> str:
        """The path as one line of readable text: a directory ends with ``/``, and unusual characters are quoted."""
        return _shown(self.path) + ("/" if self.kind == "directory" else "")

    def __str__(self) -> str:
        size = f"  {self.size:,} bytes" if self.action in {"create", "update"} else ""
        return f"{self.action:<9} {self.shown_path}{size}{f'  ({self.reason})' if self.reason else ''}"


@frozen(kw_only=True)
class DirectoryReport:
    """The action for each path of a directory; with ``dry_run`` the plan.

    ``str()`` returns a readable list without unchanged paths.

    Attributes:
        direction: ``"upload"`` or ``"download"``.
        local: The directory on this machine.
        remote: The directory in the VM.
        entries: Each path with its action; parents before their children.
        failures: Failed entries, each with its error; all others are done.
        digest: How files of the same size were compared: ``manifest`` (SHA-256 by the server), ``sha256sum``,
            ``shasum`` or ``openssl`` (SHA-256 in the VM), or ``cksum``, a checksum of 32 bits, in a VM without the
            others; None if there was nothing to compare.
        dry_run: Whether nothing was done.
    """

    direction: Direction
    local: str
    remote: str
    entries: tuple[DirectoryEntry, ...]
    failures: tuple[arker.FileOutcome, ...] = ()
    digest: str | None = None
    dry_run: bool = False

    @property
    def counts(self) -> Mapping[DirectoryAction, int]:
        """The number of paths for each action."""
        return Counter(entry.action for entry in self.entries)

    @property
    def size(self) -> int:
        """The total size of the copied files in bytes."""
        return sum(entry.size for entry in self.entries if entry.action in {"create", "update"})

    @property
    def conflicts(self) -> tuple[DirectoryEntry, ...]:
        """The entries in conflict, which prevent the whole copy."""
        return tuple(entry for entry in self.entries if entry.action == "conflict")

    @property
    def skipped(self) -> tuple[DirectoryEntry, ...]:
        """The entries that are not copied, or not deleted, each with its reason."""
        return tuple(entry for entry in self.entries if entry.action == "skip")

    def raise_for_failures(self) -> None:
        """Raise the error of the first failure, if anything failed; `failures` has those of the others.

        Nothing is raised for entries that are skipped: they are no failures.
        """
        for failure in self.failures:
            failure.raise_for_error()

    def __str__(self) -> str:
        here, there = _shown(self.local), _shown(self.remote)
        ways = f"{here} -> VM:{there}" if self.direction == "upload" else f"VM:{there} -> {here}"
        counts = self.counts
        told = ", ".join(f"{counts[action]} {_WORDS[action]}" for action in _WORDS if counts[action])
        lines = [f"{'dry run of ' if self.dry_run else ''}{self.direction} {ways}"]
        lines += [f"  {entry}" for entry in self.entries if entry.action != "unchanged"]
        lines += [f"  failed    {_shown(failure.path)}: {failure.error}" for failure in self.failures]
        lines.append(f"{told or 'nothing there'}; {self.size:,} bytes{self._end()}")
        return "\n".join(lines)

    def _end(self) -> str:
        failed = f"; {len(self.failures)} FAILED" if self.failures else ""
        return failed + ("; compared by cksum" if self.digest == "cksum" else "")


_WORDS: Final[dict[DirectoryAction, str]] = {
    "conflict": "in conflict",
    "create": "created",
    "update": "updated",
    "mkdir": "directories made",
    "symlink": "symlinks made",
    "chmod": "permissions set",
    "delete": "deleted",
    "skip": "skipped",
    "unchanged": "unchanged",
}


def _shown(path: str) -> str:
    return path if path.isprintable() and path == path.strip() else ascii(path)


__all__ = ["DirectoryAction", "DirectoryEntry", "DirectoryReport", "EntryKind"]
