r"""The program that moves uploaded files into place inside a VM, and the parser of its output.

Files are uploaded into a *staging* directory within the directory that they belong to: ``staging/N/name``, with one N
for each directory (``staging/odd/N`` where the name is not UTF-8 and so cannot be sent). The program makes symlinks and
sets permissions there, deletes, makes directories, and moves the staged entries into place by renaming, so that each
file is the complete old one or the complete new one at any moment.

It needs only POSIX. It enters each directory, and checks where it is, before it touches a name there: nothing outside
is ever changed, whatever happens in the VM meanwhile. Many names go to one process; when that fails, each goes alone,
and those that fail are reported: a number and its error message, each ended by NUL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from arker._basics.programs import shell_program
from arker._directories.entries import ancestors, is_utf8, order, parent_of, to_bytes, to_text
from arker._directories.manifest import operand
from arker.errors import BadReplyError

if TYPE_CHECKING:
    from arker._directories.plan import Step

_PLACE: Final = shell_program(__package__, "place.sh").encode()
_ALIAS: Final = shell_program(__package__, "alias.sh").encode()

_MOST_NAMES: Final = 500
_MOST_BYTES: Final = 60_000
"""Bounds on the arguments of one process, far below any system's limits."""


@frozen
class Script:
    """A program that is uploaded and run in the VM.

    Attributes:
        text: The program's text, for ``sh``.
        arguments: Its arguments.
        subjects: The paths that its output numbers stand for.
    """

    text: bytes
    arguments: tuple[str, ...]
    subjects: tuple[str, ...] = ()


def alias_script(root: str, staging: str, paths: Iterable[str]) -> Script:
    """Build a program that gives files names that JSON can carry: symlinks ``staging/N`` in the home directory."""
    lines = [b"name %s %d" % (_quote(to_bytes(path)), number) for number, path in enumerate(paths)]
    return Script(_program(_ALIAS, lines), (operand(root), staging))


def staging_places(steps: Iterable[Step]) -> dict[str, str]:
    """Return the place in the staging directory where each file is to be uploaded."""
    numbers: dict[str, int] = {}
    places: dict[str, str] = {}
    for step in steps:
        if step.action in {"create", "update"}:
            path = step.path
            name = path.rpartition("/")[2]
            number = numbers.setdefault(parent_of(path), len(numbers))
            places[path] = f"{number}/{name}" if is_utf8(name) else f"odd/{len(places)}"
    return places


def build_script(root: str, staging: str, steps: Sequence[Step], places: Mapping[str, str]) -> Script:
    """Build the program for these steps.

    Args:
        root: The directory in the VM.
        staging: The name of the staging directory in it.
        steps: The steps.
        places: Where each file was uploaded; steps for other files are skipped.
    """
    writer = _Writer(steps)
    writer.stage(places)
    writer.delete()
    writer.make_directories(places)
    writer.put()
    writer.set_modes()
    text = _program(_PLACE, [*writer.lines, b"printf 'end\\0'"])
    return Script(text, (operand(root), staging), tuple(writer.subjects))


def _program(beginning: bytes, lines: Iterable[bytes]) -> bytes:
    return b"\n".join([beginning, *lines, b""])


@define
class _Writer:
    steps: Sequence[Step]
    lines: list[bytes] = field(factory=list[bytes])
    subjects: list[str] = field(factory=list[str])
    _staged: dict[str, tuple[int, list[str]]] = field(factory=dict[str, "tuple[int, list[str]]"])
    _opened: dict[str, int] = field(factory=dict[str, int])
    """The modes to restore of directories that were made writable for their owner for a while."""
    _closed: dict[str, int] = field(factory=dict[str, int])

    def __attrs_post_init__(self) -> None:
        for step in self.steps:
            there = step.target
            if (
                there is not None
                and there.kind == "directory"
                and there.mode is not None
                and there.mode & 0o700 != 0o700
            ):
                self._closed[step.path] = there.mode

    # --- in the staging directory ---------------------------------------------------------------------------------

    def stage(self, places: Mapping[str, str]) -> None:
        """Write symlinks, names that could not be sent, and permissions."""
        by_parent: dict[str, list[Step]] = {}
        for step in self.steps:
            if step.action == "symlink" or step.path in places:
                by_parent.setdefault(parent_of(step.path), []).append(step)
        numbers = {parent_of(path): int(place.partition("/")[0]) for path, place in places.items() if place[0] != "o"}
        spare = max(numbers.values(), default=-1) + 1
        for parent, steps in by_parent.items():
            if parent not in numbers:
                numbers[parent] = spare
                spare += 1
            self._stage(numbers[parent], parent, steps, places)

    def _stage(self, number: int, parent: str, steps: list[Step], places: Mapping[str, str]) -> None:
        directory = b'"$STAGING"/%d' % number
        self.lines.append(b"mkdir -p %s; cd %s && ok=1 || ok=" % (directory, directory))
        for step in steps:
            place = places.get(step.path)
            if step.action == "symlink":
                target = _quote(to_bytes(step.entry.target or ""))
                self._one(step.path, b"ln -s -- %s %s" % (target, _here(step.path)))
            elif place is not None and place.startswith("odd/"):
                self._one(step.path, b"mv -- ../%s %s" % (place.encode(), _here(step.path)))
        self._modes(b"-f", ((step.path, step.entry.mode) for step in steps if step.action != "symlink"))
        self._staged[parent] = number, [step.path for step in steps]

    def _modes(self, kind: bytes, wanted: Iterable[tuple[str, int | None]]) -> None:
        known = sorted(((mode, path) for path, mode in wanted if mode is not None), key=lambda item: item[0])
        for mode, group in groupby(known, key=lambda item: item[0]):
            self.lines.append(b"MODE=%o KIND=%s" % (mode, kind))
            self._each(b"modes", [path for _, path in group])

    # --- in the directory itself ----------------------------------------------------------------------------------

    def delete(self) -> None:
        """Delete the entries that the source lacks, the innermost first."""
        gone = [step for step in reversed(self.steps) if step.action == "delete"]
        for (parent, is_directory), group in groupby(
            gone, key=lambda step: (parent_of(step.path), step.entry.kind == "directory")
        ):
            self._at(parent)
            self._each(b"remove_directories" if is_directory else b"remove", [step.path for step in group])

    def make_directories(self, places: Mapping[str, str]) -> None:
        """Make directories, and remove entries of another kind that are in the way."""
        for step in self.steps:
            there = step.target
            comes = step.action in {"symlink", "mkdir"} or step.path in places
            if there is None or step.source is None or not comes:
                continue
            if there.kind != step.source.kind and "directory" in {there.kind, step.source.kind}:
                self._at(parent_of(step.path))
                self._each(b"remove_directories" if there.kind == "directory" else b"remove", [step.path])
        made = [step.path for step in self.steps if step.action == "mkdir"]
        made.sort(key=lambda path: (path.count("/"), order(parent_of(path))))
        for parent, group in groupby(made, key=parent_of):
            self._at(parent)
            self._each(b"make", list(group))

    def put(self) -> None:
        """Move the staged entries to their places."""
        for parent, (number, paths) in self._staged.items():
            self._at(parent)
            self.lines.append(b'FROM="$STAGING"/%d' % number)
            self._each(b"put", paths, b'"$FROM"/')

    def set_modes(self) -> None:
        """Set the modes of files that are not copied, then of directories, the innermost first."""
        wanted = {
            step.path: mode
            for step in self.steps
            if step.action in {"chmod", "mkdir"} and (mode := step.entry.mode) is not None
        }
        files = [step.path for step in self.steps if step.action == "chmod" and step.entry.kind == "file"]
        files_of = {path: wanted.pop(path) for path in files if path in wanted}
        for parent, group in groupby(sorted(files_of, key=lambda path: order(parent_of(path))), key=parent_of):
            self._at(parent)
            self._modes(b"-f", ((path, files_of[path]) for path in group))
        deleted = {step.path for step in self.steps if step.action == "delete"}
        replaced = {step.path for step in self.steps if step.source is not None and step.source.kind != "directory"}
        for path, mode in self._opened.items():
            if path not in deleted and path not in replaced:
                wanted.setdefault(path, mode)
        innermost = sorted(wanted, key=lambda path: (-path.count("/"), order(parent_of(path))))
        for parent, group in groupby(innermost, key=parent_of):
            self._at(parent)
            self._modes(b"-d", ((path, wanted[path]) for path in group))

    # --- lines ----------------------------------------------------------------------------------------------------

    def _at(self, directory: str) -> None:
        for path in reversed([directory, *ancestors(directory)]):
            if path in self._closed:
                self._opened[path] = self._closed.pop(path)
                self._enter(parent_of(path))
                self.lines.append(b"[ -h %s ] || chmod u+rwx %s" % (_here(path), _here(path)))
        self._enter(directory)

    def _enter(self, directory: str) -> None:
        self.lines.append(b"at %s" % _quote(to_bytes(directory)))

    def _one(self, path: str, command: bytes) -> None:
        self.lines.append(b"one %d %s" % (len(self.subjects), command))
        self.subjects.append(path)

    def _each(self, function: bytes, paths: Sequence[str], beginning: bytes = b"./") -> None:
        for group in _groups(paths):
            names = b" ".join(beginning + _quote(_name(path)) for path in group)
            self.lines.append(b"each %s %d %s" % (function, len(self.subjects), names))
            self.subjects += group


def _groups(paths: Sequence[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for path in paths:
        length = len(_name(path)) + 200  # for the rest of its line
        if group and (len(group) == _MOST_NAMES or size + length > _MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(path)
        size += length
    if group:
        yield group


def _name(path: str) -> bytes:
    return to_bytes(path.rpartition("/")[2])


def _here(path: str) -> bytes:
    return b"./" + _quote(_name(path))


def _quote(text: bytes) -> bytes:
    return b"'" + text.replace(b"'", b"'\\''") + b"'"


def parse_report(output: bytes, script: Script) -> dict[str, str]:
    """Parse the program's output, and return the paths that failed, each with the VM's message.

    Raises:
        BadReplyError: The output is malformed: the program was stopped, or the VM cannot be trusted.
    """
    fields = output.split(b"\0")
    if fields[-2:] != [b"end", b""] or len(fields) % 2:
        raise _wrong("it is cut short")
    problems: dict[str, str] = {}
    for number, message in zip(fields[:-2:2], fields[1:-2:2], strict=True):
        if not number.isdigit() or int(number) >= len(script.subjects):
            raise _wrong("a number does not belong to a step")
        problems.setdefault(script.subjects[int(number)], to_text(message).strip()[:500] or "no reason given")
    return problems


def _wrong(problem: str) -> BadReplyError:
    message = f"the VM's report on what was put into place is not what was asked for: {problem}"
    return BadReplyError(message, path="$.stdout", outcome="unknown")


__all__ = ["Script", "alias_script", "build_script", "parse_report", "staging_places"]
