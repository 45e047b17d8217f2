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
    """For when there are no patterns."""
    return False


def check_patterns(patterns: object) -> tuple[str, ...]:
    """The patterns that a caller has given, as they are."""
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
    """Whether a path matches, as git has it: the last pattern that matches decides; ``!`` takes back.

    It is to be asked of parents first: what is below something that is ignored need not be asked.

    Raises:
        ConfigurationError: ``pathspec`` is not installed.
        InvalidArgumentError: One of them is no pattern.
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
    """Names of directories that are ignored wherever they are, so that a VM need not list what they hold."""
    if any(pattern.startswith("!") for pattern in patterns):
        return []
    names = {pattern.rstrip().rstrip("/") for pattern in patterns}
    return sorted(name for name in names if can_hide(name))


def without_ignored(tree: Tree, ignores: Ignores) -> Tree:
    """The tree without what patterns match, and without what is below that."""
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
