"""The public interface, compared with that of the last release: ``python -m tools.site.interface [COMMIT]``.

Only what is promised is compared: the names in ``__all__`` of the public packages, each by its public path, so that a
definition may move from one private file to another. The sources are read, never imported. What breaks callers is
printed, and fails unless *Changed* or *Removed* of the changelog's newest version names it, as in ``AsyncVM.run``,
which stands for the blocking twin, ``VM.run``, as well.
"""

from __future__ import annotations

import builtins
import copy
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import griffe
from attrs import frozen

from tools.site.names import PROMISED
from tools.site.releases import ROOT, base

NOT_FOR_CALLERS: Final = "Use `"
"""In the docstring of an ``__init__``: callers get such objects from elsewhere, and do not make them."""
SECTION: Final = re.compile(r"^### (\w+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(r"`([^`]+)`")
NAME: Final = re.compile(r"[A-Za-z_][\w.]*")


@frozen
class Change:
    """A change that breaks callers."""

    path: str
    """The public path of what has changed, such as ``arker.AsyncVM.run``."""
    what: str

    @property
    def names(self) -> frozenset[str]:
        """The names under which the changelog may tell of it."""
        parts = self.path.split(".")
        return frozenset(_neutral(".".join(parts[start:])) for start in range(1, len(parts)))

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class Interface:
    """The public names of a source tree, and what each of them is."""

    def __init__(self, source: Path, promised: Sequence[str] = PROMISED) -> None:
        loader = griffe.GriffeLoader(search_paths=[source], allow_inspection=False)
        for package in dict.fromkeys(name.partition(".")[0] for name in promised):
            loader.load(package)
        loader.resolve_aliases(implicit=True, external=False)
        self._collection = loader.modules_collection
        self.public: set[str] = set()
        """The paths of the definitions that have a public name."""
        self.modules = {path: module for path in promised if (module := self._module(path)) is not None}

    def _module(self, path: str) -> griffe.Module | None:
        try:
            found = self._collection[path]
        except KeyError:
            return None
        made = griffe.Module(path)
        for name in found.exports or ():
            value = _definition(found.members[str(name)])
            if value.is_module:
                continue  # it is promised by itself, or not at all
            self.public.add(value.path)
            made.set_member(str(name), self._surface(value) if value.is_class else _renamed(value))
        return made

    def _surface(self, found: griffe.Object) -> griffe.Class:
        """Return a class with all that callers may use of it, wherever in its private bases that is defined."""
        made = griffe.Class(found.name)
        made.public = True
        for name, value in found.all_members.items():
            target = _definition(value)
            hidden = name.startswith("_") and (name == "__init__" or not name.startswith("__") or name in dir(object))
            if name == "__init__" and target.is_function:
                hidden = NOT_FOR_CALLERS in (target.docstring.value if target.docstring else "")
            if not hidden and not target.is_module:
                made.set_member(name, _renamed(target))
        made.extra["arker"]["bases"] = self._bases(cast("griffe.Class", found))
        return made

    def _bases(self, found: griffe.Class) -> set[str]:
        """Return the paths of a class's bases, direct and indirect, public or not, and Python's own by their names."""
        classes = [found, *found.mro()]
        paths = {each.path for each in classes[1:]}
        said = {str(base).rpartition(".")[2] for each in classes for base in each.bases}
        own = [value for name in said if isinstance(value := getattr(builtins, name, None), type)]
        return paths | {base.__name__ for value in own for base in value.__mro__}

    def bases(self, found: griffe.Class) -> set[str]:
        """Return the names of the public bases of a class, which callers may rely on in `isinstance` and `except`."""
        paths = cast("set[str]", found.extra["arker"]["bases"])
        return {path.rpartition(".")[2] for path in paths if path in self.public or "." not in path}


def changes(old: Interface, new: Interface) -> Iterator[Change]:
    """Yield what breaks the callers of the old interface."""
    for path, before in old.modules.items():
        after = new.modules.get(path)
        if after is None:
            yield Change(path, "the module was removed")
            continue
        for breakage in griffe.find_breaking_changes(before, after):
            values = [breakage.old_value, breakage.new_value]
            if isinstance(breakage, griffe.ParameterChangedDefaultBreakage) and all(map(_private_default, values)):
                continue
            yield Change(breakage.obj.path, _told(breakage))
        for name, was in before.classes.items():
            now = after.classes.get(name)
            if now is not None:
                for lost in sorted(old.bases(was) - new.bases(now)):
                    yield Change(f"{path}.{name}", f"it is no longer a subclass of {lost}")


def announced(changelog: str) -> set[str]:
    """Return the names that the newest version's lists of changes and removals contain."""
    newest = changelog.partition("\n## ")[2].partition("\n## ")[0]
    lists = [text for title, text in SECTION.findall(newest) if title in ("Changed", "Removed")]
    return {_neutral(name) for text in lists for code in CODE.findall(text) for name in NAME.findall(code)}


def unpack(commit: str, place: Path) -> None:
    """Write the packages of a commit into a directory."""
    packages = sorted({name.partition(".")[0] for name in PROMISED})
    done = subprocess.run(["git", "archive", commit, *packages], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(place, filter="data")


def main() -> int:
    """Compare. Return 1 if an interface that callers may use has changed without a word, 2 if nothing was compared."""
    try:
        commit = base(sys.argv[1] if len(sys.argv) > 1 else None)
    except LookupError as error:
        print(f"nothing is compared: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        unpack(commit, Path(scratch))
        old = Interface(Path(scratch))
        found = list(dict.fromkeys(changes(old, Interface(ROOT))))
    told = announced((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    untold = [change for change in found if not change.names & told]
    for change in found:
        print(f"{change}{' (not in the changelog)' if change in untold else ''}")
    names = sum(len(module.members) for module in old.modules.values())
    print(
        f"{names} public names of {commit}: {len(found)} breaking changes, {len(untold)} of them not in the changelog"
    )
    return 1 if untold else 0


def _definition(value: griffe.Object | griffe.Alias) -> griffe.Object:
    """Return what a name stands for."""
    return value.final_target if isinstance(value, griffe.Alias) else value


def _renamed(value: griffe.Object) -> griffe.Object:
    """Return a copy of a definition that counts as public, and can get another path."""
    made = copy.copy(value)
    made.public = True
    return made


def _neutral(name: str) -> str:
    """Return a name without the Async of the asyncio client's classes: they are told of together with their twins."""
    return ".".join(part.removeprefix("Async") for part in name.split("."))


def _private_default(value: object) -> bool:
    """Return whether a parameter's default is a private name, which stands for "not given"."""
    return str(getattr(value, "default", "")).rpartition(".")[2].startswith("_")


def _told(breakage: griffe.Breakage) -> str:
    values = [value for value in (breakage.old_value, breakage.new_value) if isinstance(value, griffe.Parameter)]
    if not values:
        return str(breakage)
    return f"{breakage}: {' -> '.join(str(value) for value in values)}"


if __name__ == "__main__":
    sys.exit(main())
