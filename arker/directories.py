"""What `AsyncVM.upload_dir` and `AsyncVM.download_dir` tell: what was done, or would be."""

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
"""What is done about one path.

``create``, ``update``: a file is copied. ``mkdir``: a directory is made. ``symlink``: a symlink is made, or made anew.
``chmod``: permissions are set, nothing else. ``delete``: what the source has not is removed. ``unchanged``: nothing.
``skip``: it is not copied, for the reason that the entry has. ``conflict``: it cannot be copied without removing
something, and so nothing is done at all.
"""

EntryKind: TypeAlias = Literal["file", "directory", "symlink", "special"]
"""What a path is; ``special`` is a FIFO, a socket or a device, which are never opened."""


@frozen(kw_only=True)
class DirectoryEntry:
    """One path of a directory, and what is done about it.

    Attributes:
        path: Relative to the directory, with ``/``; bytes that are not UTF-8 are surrogates (see `os.fsdecode`).
        action: What is done.
        kind: What it is (when deleted: what it was).
        size: Bytes, of a file.
        reason: Why it is skipped or in conflict, or what it takes the place of; for people.
    """

    path: str
    action: DirectoryAction
    kind: EntryKind
    size: int = 0
    reason: str | None = None

    @property
    def shown_path(self) -> str:
        """The path on one line, for people: a directory's ends with ``/``, and a strange one is quoted."""
        return _shown(self.path) + ("/" if self.kind == "directory" else "")

    def __str__(self) -> str:
        size = f"  {self.size:,} bytes" if self.action in {"create", "update"} else ""
        return f"{self.action:<9} {self.shown_path}{size}{f'  ({self.reason})' if self.reason else ''}"


@frozen(kw_only=True)
class DirectoryReport:
    """What was done about each path of a directory; with ``dry_run`` what would be: a plan.

    ``str()`` of it is a list for people, without what is unchanged.

    Attributes:
        direction: ``"upload"`` or ``"download"``.
        local: The directory on this machine.
        remote: The directory in the VM.
        entries: Each path, with what is done about it; parents before what they hold.
        failures: What did not succeed, each with its error; the rest has been done.
        digest: What told files of the same size apart: ``sha256sum``, ``shasum`` or ``openssl`` (all SHA-256), or
            ``cksum``, a checksum of 32 bits, in a VM that has nothing better; None when there was nothing to compare.
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
        """How many paths there are of each action."""
        return Counter(entry.action for entry in self.entries)

    @property
    def size(self) -> int:
        """Bytes of the files that are copied."""
        return sum(entry.size for entry in self.entries if entry.action in {"create", "update"})

    @property
    def conflicts(self) -> tuple[DirectoryEntry, ...]:
        """What keeps the whole from being done."""
        return tuple(entry for entry in self.entries if entry.action == "conflict")

    @property
    def skipped(self) -> tuple[DirectoryEntry, ...]:
        """What is not copied, each with the reason."""
        return tuple(entry for entry in self.entries if entry.action == "skip")

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
