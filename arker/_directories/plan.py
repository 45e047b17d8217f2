"""The plan of the steps that make one directory match another. Pure: two trees in, steps out."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from arker._directories.entries import Entry, Tree, ancestors, leads_outside, order, parent_of, unsafe_name

if TYPE_CHECKING:
    from arker.directories import DirectoryAction


@frozen
class Step:
    """A thing to do or to skip.

    Attributes:
        action: The kind of the step.
        path: The path that it acts on.
        source: The entry in the source directory; None for a deletion.
        target: The entry in the target directory; None if there is none.
        reason: Why it is skipped, is in conflict, or takes the place of something; for people.
    """

    action: DirectoryAction
    path: str
    source: Entry | None = None
    target: Entry | None = None
    reason: str | None = None

    @property
    def entry(self) -> Entry:
        """The entry that the step acts on."""
        entry = self.source or self.target
        assert entry is not None
        return entry


def make_plan(source: Tree, target: Tree, *, delete: bool, left_out: Mapping[str, str] = {}) -> list[Step]:
    """Return the steps; parents come before their content.

    Args:
        source: The tree to copy.
        target: The tree to change.
        delete: Whether to delete entries that the source lacks.
        left_out: Paths of the source that are not copied, with the reason. The target keeps its entries there.
    """
    return list(_Planner(source, target, delete, left_out).steps())


class _Planner:
    def __init__(self, source: Tree, target: Tree, delete: bool, left_out: Mapping[str, str]) -> None:
        self._source = source
        self._target = target
        self._delete = delete
        self._left_out = left_out
        # Where the source's content is unknown or not copied, the target's entries are not extraneous.
        self._protected = {
            *left_out,
            *source.unreadable,
            *(path for path, entry in source.entries.items() if entry.kind == "special"),
        }
        self._extraneous = self._find_extraneous() if delete else set[str]()
        stays = (path for path in [*target.entries, *target.ignored] if path not in self._extraneous)
        self._occupied = {above for path in stays for above in ancestors(path)}

    def _find_extraneous(self) -> set[str]:
        """Find entries that the source lacks and nothing protects."""
        source, target = self._source, self._target
        if "" in source.unreadable:
            return set()
        gone: set[str] = set()
        kept: set[str] = {above for path in target.ignored for above in [path, *ancestors(path)]}
        kept |= {above for path in target.unreadable for above in [path, *ancestors(path)]}
        for path in sorted(target.entries, key=order, reverse=True):
            if path in source.entries:
                continue
            protected = any(above in self._protected for above in [path, *ancestors(path)])
            if protected or path in kept:
                kept.update([path, *ancestors(path)])
            else:
                gone.add(path)
        return gone

    def steps(self) -> Iterator[Step]:
        blocked: set[str] = set()
        for path in sorted({*self._source.entries, *self._extraneous}, key=order):
            entry = self._source.entries.get(path)
            if entry is None:
                yield Step("delete", path, None, self._target.entries[path])
                continue
            if parent_of(path) in blocked:
                blocked.add(path)  # its directory is not copied, and has said so
                continue
            step = self._step(path, entry)
            if step.action in {"conflict", "skip"}:
                blocked.add(path)
            yield step

    def _step(self, path: str, entry: Entry) -> Step:
        there = self._target.entries.get(path)
        if path in self._left_out:
            return Step("skip", path, entry, there, self._left_out[path])
        if entry.kind == "special":
            return Step("skip", path, entry, there, "it is a FIFO, a socket or a device")
        if path in self._target.ignored:
            return Step("conflict", path, entry, there, "something that a pattern matches is in its place")
        if there is not None and there.kind != entry.kind:
            return self._replace(path, entry, there)
        if entry.kind == "directory":
            return self._directory(path, entry, there)
        if entry.kind == "symlink":
            same = there is not None and there.target == entry.target
            return Step("unchanged" if same else "symlink", path, entry, there)
        return self._file(path, entry, there)

    def _directory(self, path: str, entry: Entry, there: Entry | None) -> Step:
        problem = self._source.unreadable.get(path)
        reason = None if problem is None else f"its content cannot be read: {problem}"
        if there is None:
            return Step("mkdir", path, entry, None, reason)
        return Step("chmod" if _differ(entry, there) else "unchanged", path, entry, there, reason)

    def _file(self, path: str, entry: Entry, there: Entry | None) -> Step:
        if there is None:
            return Step("create", path, entry)
        if entry.size != there.size:
            return Step("update", path, entry, there, f"of {there.size} bytes")
        if entry.digest is None or entry.digest != there.digest:
            return Step("update", path, entry, there)
        return Step("chmod" if _differ(entry, there) else "unchanged", path, entry, there)

    def _replace(self, path: str, entry: Entry, there: Entry) -> Step:
        """Plan the replacement of an entry of another kind."""
        if there.kind == "directory":
            if path in self._target.unreadable:
                return Step("conflict", path, entry, there, "a directory that cannot be read is in its place")
            if path in self._occupied:
                kept = "a directory is in its place, with something that is not deleted"
                full = "a directory that is not empty is in its place (delete=True removes it)"
                return Step("conflict", path, entry, there, kept if self._delete else full)
        if there.kind == "special" and not self._delete:
            reason = "a FIFO, a socket or a device is in its place (delete=True removes it)"
            return Step("conflict", path, entry, there, reason)
        reason = f"in place of {'another thing' if there.kind == 'special' else f'a {there.kind}'}"
        if entry.kind == "directory":
            return Step("mkdir", path, entry, there, reason)
        return Step("symlink" if entry.kind == "symlink" else "create", path, entry, there, reason)


def without_deletions(steps: Sequence[Step], copied: Container[str]) -> list[Step]:
    """Return the steps for a copy of which some files are missing: the target may have them by their former names.

    Args:
        steps: The steps.
        copied: The files that are there to be put into place. What is in their way is deleted.
    """
    comes = {step.path for step in steps if step.action == "symlink" or step.path in copied}
    kept = "it is not deleted, because not all files could be copied"
    return [
        evolve(step, action="skip", reason=kept)
        if step.action == "delete" and not any(above in comes for above in ancestors(step.path))
        else step
        for step in steps
    ]


def _differ(entry: Entry, there: Entry) -> bool:
    return entry.mode is not None and there.mode is not None and entry.mode != there.mode


def not_to_be_taken(tree: Tree, *, links: bool, windows: bool) -> dict[str, str]:
    """Return the entries of a VM's directory that are not copied to this machine, with the reason.

    Args:
        tree: The VM's directory.
        links: Whether to copy symlinks that lead out of it as well.
        windows: Whether this machine runs Windows.
    """
    left_out: dict[str, str] = {}
    for path, entry in tree.entries.items():
        reason = unsafe_name(path, windows=windows)
        if reason is not None:
            if not any(above in left_out for above in ancestors(path)):
                left_out[path] = reason
        elif entry.target is not None and not links and leads_outside(path, entry.target, windows=windows):
            left_out[path] = f"it leads out of the directory, to {entry.target!r}"
    return left_out


__all__ = ["Step", "make_plan", "not_to_be_taken", "without_deletions"]
