"""Patterns in the syntax of gitignore, matched by ``pathspec``, which the extra ``files`` brings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from arker._directories.entries import Entry, Tree, ancestors
from arker._directories.manifest import can_hide
from arker.errors import ConfigurationError, InvalidArgumentError

if TYPE_CHECKING:
    from arker._directories.entries import Ignores


def ignores_nothing(path: str, is_directory: bool) -> bool:
    """Match no path. Used when there are no patterns."""
    return False


def check_patterns(patterns: object) -> tuple[str, ...]:
    """Check a caller's patterns, and return them unchanged."""
    expected = "a list of patterns in gitignore syntax"
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Iterable):
        raise InvalidArgumentError("ignore", patterns, f"expected {expected}, such as ['*.pyc', '.git/']")
    checked: list[str] = []
    for pattern in cast("Iterable[object]", patterns):
        if not isinstance(pattern, str) or "\n" in pattern:
            raise InvalidArgumentError("ignore", pattern, f"expected {expected}, each a string of one line")
        checked.append(pattern)
    return tuple(checked)


def compile_patterns(patterns: Sequence[str]) -> Ignores:
    """Return a function that tells whether a path matches. As in git, the last matching pattern decides; ``!`` negates.

    Ask it about parents first: paths below an ignored one need no check.

    Raises:
        ConfigurationError: ``pathspec`` is not installed.
        InvalidArgumentError: One of them is not a valid pattern.
    """
    if not any(pattern.strip() and not pattern.startswith("#") for pattern in patterns):
        return ignores_nothing
    try:
        from pathspec import GitIgnoreSpec  # an extra
    except ImportError:
        raise ConfigurationError(
            "patterns need the library pathspec: install arker-async[files] (pip install 'arker-async[files]')"
        ) from None
    try:
        spec = GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InvalidArgumentError(
            "ignore", list(patterns), f"expected patterns in gitignore syntax ({error})"
        ) from None

    def ignores(path: str, is_directory: bool) -> bool:
        return spec.match_file(f"{path}/" if is_directory else path)

    return ignores


def hidden_names(patterns: Sequence[str]) -> list[str]:
    """Return the names of directories that are ignored everywhere, so that a VM need not list their content."""
    if any(pattern.startswith("!") for pattern in patterns):
        return []
    names = {pattern.rstrip().rstrip("/") for pattern in patterns}
    return sorted(name for name in names if can_hide(name))


def without_ignored(tree: Tree, ignores: Ignores) -> Tree:
    """Return the tree without the paths that match a pattern, and without everything below them."""
    entries: dict[str, Entry] = {}
    ignored: set[str] = set()
    for path, entry in tree.entries.items():
        if any(above in ignored for above in ancestors(path)):
            continue
        if ignores(path, entry.kind == "directory"):
            ignored.add(path)
        else:
            entries[path] = entry
    unreadable = {path: reason for path, reason in tree.unreadable.items() if path in entries or not path}
    return Tree(tree.root, entries, frozenset(ignored), unreadable, tree.digest)


__all__ = ["check_patterns", "compile_patterns", "hidden_names", "ignores_nothing", "without_ignored"]
