r"""The list of a VM's directory: the command that writes it, and the parser of its output.

The command needs only POSIX, and uses other tools where it finds them: ``stat`` of coreutils or busybox (else ``ls``),
``readlink`` (else ``ls``), and ``sha256sum``, ``shasum`` or ``openssl`` (else ``cksum``). It changes nothing, opens
only regular files, and follows no symlink but the directory itself.

It writes sections, each ended by an empty field; fields end with NUL:

1. the state of the directory, and the tool for digests;
2. ``mode size path//`` and a line feed for each entry, all in one field, since no path contains ``//``;
3. each symlink's path, and where it leads;
4. one field of lines as the tool writes them, for files whose paths contain no backslash and no end of a line;
5. path, and line of the tool, for the other files;
6. directories that cannot be listed; and the word ``end``.

The VM's output is not trusted: any other format is an error, and so is a path that is not below the directory.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from arker._basics.programs import shell_program
from arker._directories.entries import PERMISSIONS, Entry, Tree, is_utf8, order, parent_of, to_text, unsafe_name
from arker.errors import BadReplyError

if TYPE_CHECKING:
    from arker._directories.entries import Kind

_MANIFEST: Final = shell_program(__package__, "manifest.sh")
_PLAIN_NAME: Final = re.compile(r"[\w.-]+", re.ASCII)

_LONGEST_OPERANDS: Final = 24_000
"""Bytes of the operands; Linux takes 128 KiB of a single argument."""


@frozen
class Places:
    """The parts of a directory to look at, where the rest does not matter.

    Attributes:
        alone: Paths to look at without their content.
        whole: Paths to look at with all of their content.
    """

    alone: Sequence[str] = ()
    whole: Sequence[str] = ()


def places_of(tree: Tree) -> Places | None:
    """Return the places in a VM's directory that a copy to it concerns; None when all of it has to be listed.

    A directory of the VM, for example ``/``, may hold many files that the copy does not touch.
    """
    alone = [path for path, entry in tree.entries.items() if entry.kind == "directory"]
    # If a directory is in the place of a file, its content matters.
    whole = [path for path, entry in tree.entries.items() if entry.kind != "directory"]
    tops = [path for path in tree.entries if not parent_of(path)]
    for places in (Places(alone, whole), Places((), tops)):
        names = [*places.alone, *places.whole]
        if all(map(is_utf8, names)) and sum(len(shlex.quote(name)) + 3 for name in names) <= _LONGEST_OPERANDS:
            return places
    return None


def manifest_command(
    root: str, sizes: Sequence[tuple[int, int]], *, hidden: Sequence[str] = (), places: Places | None = None
) -> list[str]:
    """Build the command whose output `parse_manifest` reads.

    Args:
        root: The directory in the VM.
        sizes: Digests are made of files whose size is in one of these ranges.
        hidden: Names of directories whose content is not listed; they are themselves. `can_hide` tells which it may be.
        places: Where to look; everywhere unless given.
    """
    ranges = " ".join(f"{least}-{most}" for least, most in sizes)
    command = ["sh", "-c", _MANIFEST, "sh", operand(root), " ".join(hidden), ranges]
    return command if places is None else [*command, _words(places.alone), _words(places.whole)]


def _words(paths: Sequence[str]) -> str:
    return " ".join(shlex.quote(f"./{path}") for path in paths)


def can_hide(name: str) -> bool:
    """Return whether `manifest_command` can leave out the content of directories of this name."""
    return _PLAIN_NAME.fullmatch(name) is not None and not name.startswith("-") and name.strip(".") != ""


def operand(path: str) -> str:
    """Return a path in a form that no program takes for an option."""
    return f"./{path}" if path.startswith("-") else path


# --- reading ---------------------------------------------------------------------------------------------------------


class _Fields:
    """A reader of the output, field by field."""

    def __init__(self, output: bytes) -> None:
        self._fields = iter(output.split(b"\0"))

    def next(self) -> bytes:
        try:
            return next(self._fields)
        except StopIteration:
            raise _wrong("it is cut short") from None

    def section(self) -> Iterator[bytes]:
        """Return the fields up to the next empty one."""
        while field := self.next():
            yield field

    def expect(self, *expected: bytes) -> None:
        for text in expected:
            if self.next() != text:
                raise _wrong(f"expected {text!r}")

    def end(self) -> None:
        self.expect(b"end", b"")
        if next(self._fields, None) is not None:
            raise _wrong("something follows its end")


def parse_manifest(output: bytes, *, everywhere: bool = True) -> Tree:
    """Parse the command's output, and return the content of the directory.

    Args:
        output: The command's output.
        everywhere: Whether the whole directory was listed, and not only certain places, which may be behind a symlink.

    Raises:
        BadReplyError: The output is malformed.
    """
    fields = _Fields(output)
    fields.expect(b"arker-tree 1")
    state = fields.next()
    if state == b"absent":
        fields.end()
        return Tree("absent", {})
    if state == b"other":
        fields.end()
        return Tree("other", {})
    if state == b"closed":
        fields.end()
        return Tree("directory", {}, unreadable={"": "permission denied"})
    if state != b"directory":
        raise _wrong("there is no such state")
    tool = fields.next().decode("ascii", "replace")
    fields.expect(b"")
    listing = fields.next()
    fields.expect(b"")
    found = _entries(listing)
    links = dict(_pairs(fields))
    digests = _digests(fields, tool)
    unreadable = {_path(path): "permission denied" for path in fields.section()}
    fields.end()
    entries: dict[str, Entry] = {}
    for path in sorted(found, key=order):
        kind, mode, size = found[path]
        if parent_of(path) and (parent_of(path) not in entries or entries[parent_of(path)].kind != "directory"):
            if not everywhere:
                continue
            raise _wrong("something is in what is no directory; or it has changed while it was listed")
        if kind == "file":
            entries[path] = Entry(kind, mode, size, digest=digests.get(path))
        elif kind != "symlink":
            entries[path] = Entry(kind, mode)
        elif links.get(path):
            entries[path] = Entry(kind, target=to_text(links[path]))
        # Otherwise it was removed meanwhile.
    known = {path: reason for path, reason in unreadable.items() if path in entries or not path}
    return Tree("directory", entries, unreadable=known, digest=tool or None)


def _entries(listing: bytes) -> dict[str, tuple[Kind, int, int]]:
    found: dict[str, tuple[Kind, int, int]] = {}
    if not listing.endswith(b"//\n"):
        raise _wrong("its list of entries is cut short")
    for record in listing[:-3].split(b"//\n"):
        parts = record.split(b" ", 2)
        if len(parts) != 3:
            raise _wrong("an entry lacks something")
        kind, mode = _kind_and_mode(parts[0])
        path = _path(parts[2])
        if path in found:
            raise _wrong("a path is listed twice")
        # In place of a device's size, ls writes its number.
        if not re.fullmatch(rb"[0-9]{1,19}", parts[1]) and kind != "special":
            raise _wrong("a size is no number")
        found[path] = kind, mode, int(parts[1]) if kind == "file" else 0
    if found.pop("", ("special",))[0] != "directory":
        raise _wrong("the directory itself is not in the list")
    return found


_KINDS: Final[dict[int, Kind]] = {0o04: "directory", 0o10: "file", 0o12: "symlink"}
_LETTERS: Final[dict[str, Kind]] = {"d": "directory", "-": "file", "l": "symlink"}


def _kind_and_mode(text: bytes) -> tuple[Kind, int]:
    """Parse the kind and mode from ``81a4`` of stat or ``-rw-r--r--`` of ls."""
    if re.fullmatch(rb"[0-9a-f]{1,8}", text):
        mode = int(text, 16)
        return _KINDS.get(mode >> 12, "special"), mode & PERMISSIONS
    if re.fullmatch(rb"[a-zA-Z-][r-][w-][xsS-][r-][w-][xsS-][r-][w-][xtT-][.+@]?", text):
        letters = text.decode()
        bits = "".join("0" if letter in "-ST" else "1" for letter in letters[1:10])
        return _LETTERS.get(letters[0], "special"), int(bits, 2)
    raise _wrong("a mode is invalid")


def _pairs(fields: _Fields) -> Iterator[tuple[str, bytes]]:
    for path in fields.section():
        yield _path(path), fields.next()


_SHA256: Final = re.compile(rb"([0-9a-f]{64})(?: [ *](.*))?")
_CKSUM: Final = re.compile(rb"([0-9]{1,10}) [0-9]+(?: (.*))?")


def _digests(fields: _Fields, tool: str) -> dict[str, str]:
    """Parse the digests. A file without a readable digest is left out, so it counts as different."""
    pattern = _CKSUM if tool == "cksum" else _SHA256
    digests: dict[str, str] = {}
    lines = fields.next()
    fields.expect(b"")
    for line in lines.split(b"\n"):
        match = pattern.fullmatch(line)
        if match and match[2]:
            digests[_path(match[2])] = match[1].decode()
    for path, line in _pairs(fields):
        match = pattern.fullmatch(line)
        if match:
            digests[path] = match[1].decode()
    return digests


def _path(text: bytes) -> str:
    if text == b".":
        return ""
    path = to_text(text[2:])
    if not text.startswith(b"./") or unsafe_name(path) is not None:
        raise _wrong("it names a path that is not one below the directory")
    return path


def _wrong(problem: str) -> BadReplyError:
    # The VM's output is not quoted, because it may hold a secret.
    message = f"the VM's list of the directory is not what was asked for: {problem}"
    return BadReplyError(message, path="$.stdout")


__all__ = ["Places", "can_hide", "manifest_command", "operand", "parse_manifest", "places_of"]
