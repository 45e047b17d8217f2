"""Lists of directories: names, entries, whole trees."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Final

from arker._basics.programs import shell_program
from arker._context import Place
from arker._paths.checks import check_path
from arker._paths.records import MisprintError, parse_found, parse_line, text_of
from arker._paths.shell import LINK, PathShell, program
from arker._paths.spool import Spool, temporary_path
from arker._paths.steps import Steps
from arker.entries import FileEntry, FileStat
from arker.items import AsyncItems
from arker.models import _checks as check

LIST: Final = program(shell_program(__package__, "list.sh"), spools=True)
_NAMES: Final = program(shell_program(__package__, "names.sh"), spools=True)
_DEEPEST: Final = 1_000_000_000

Found = tuple[str, FileStat]
"""A path below the directory, and its status."""


async def listdir(place: Place, path: object, *, deadline: float | None) -> list[str]:
    """List the names in a directory; see `AsyncFiles.listdir`."""
    where = check_path(path)
    shell = PathShell(place, "listdir")
    file = temporary_path()
    with shell.within(deadline):
        spool = Spool(shell, _NAMES, [where, file], [where], file)
        pieces = [await spool.begin()]
        while piece := await spool.next():
            pieces.append(piece)
    *names, end = b"".join(pieces).split(b"\0")
    if end:
        raise shell.wrong("it is cut short")
    inside = where.rstrip("/").encode("utf-8", "surrogateescape") + b"/"
    # A directory that cannot be entered is listed by whole paths.
    found = (name.removeprefix(inside) for name in names)
    return [text_of(name) for name in found if text_of(name) != posixpath.basename(file)]


class Listing(Steps[Found]):
    """What is in a directory, as it is asked for."""

    def __init__(
        self,
        place: Place,
        path: object,
        operation: str,
        *,
        depth: int | None = 1,
        follow: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Prepare a list.

        Args:
            place: The VM.
            path: The directory.
            operation: The name of the method of `AsyncFiles`.
            depth: How deep to go; None for all.
            follow: Whether symlinks are followed.
            deadline: Seconds for all of it.
        """
        super().__init__(PathShell(place, operation), deadline)
        self._where = check_path(path)
        self._depth = _DEEPEST if depth is None else depth
        self._follow = follow
        self._file = ""
        self._spool: Spool | None = None
        self._parser: Parser | None = None

    async def _fetch(self) -> None:
        if self._spool is None or self._parser is None:
            tool = await self._shell.lister()
            self._file = temporary_path()
            words = [tool, str(self._depth), self._where, self._file, "follow" if self._follow else "", LINK]
            spool = Spool(self._shell, LIST, words, [self._where], self._file)
            piece = await spool.begin()  # if it fails, the next step begins anew
            self._spool, self._parser = spool, parser_of(tool, self._where, links=not self._follow)
        else:
            piece = await self._spool.next()
        try:
            if piece:
                found = self._parser.feed(piece)
            else:
                found = self._parser.end()
                self._over = True
            own = posixpath.basename(self._file)
            self._found.extend(each for each in found if posixpath.basename(each[0]) != own)
        except MisprintError as error:
            raise self._shell.wrong(str(error)) from None

    def _release(self) -> None:
        self._spool = self._parser = None


def parser_of(tool: str, directory: str, *, links: bool) -> Parser:
    """Return the parser of what the program prints with a tool.

    Args:
        tool: The tool.
        directory: The directory that is listed.
        links: Whether symlinks are not followed.
    """
    return Parser(links) if tool == "find" else _LineParser(tool, directory, links)


class Parser:
    """A parser of what ``find`` of GNU prints: the facts, where a symlink leads, and the path; each ended by NUL."""

    def __init__(self, links: bool) -> None:
        self._links = links
        self._rest: bytes = b""

    def feed(self, piece: bytes) -> list[Found]:
        """Return the entries that are complete."""
        *fields, rest = (self._rest + piece).split(b"\0")
        if left := len(fields) % 3:
            rest = b"\0".join([*fields[-left:], rest])
            del fields[-left:]
        self._rest = rest
        return [
            (_below(fields[at + 2]), parse_found(fields[at], fields[at + 1], links=self._links))
            for at in range(0, len(fields), 3)
        ]

    def end(self) -> list[Found]:
        """Return the entries that were held back."""
        if self._rest:
            raise MisprintError("it is cut short")
        return []


class _LineParser(Parser):
    """A parser of what other tools print: lines of all entries first, then where the symlinks lead."""

    def __init__(self, tool: str, directory: str, links: bool) -> None:
        super().__init__(links)
        # The path comes last, and may have a bar in it.
        self._bars = 4 if tool == "stat" else 1
        self._inside = directory.rstrip("/").encode("utf-8", "surrogateescape") + b"/./"

    def feed(self, piece: bytes) -> list[Found]:
        self._rest += piece
        return []

    def end(self) -> list[Found]:
        lines, mark, links = self._rest.partition(b"\0")
        if not mark or not links.endswith(b"\0"):
            raise MisprintError("it is cut short")
        leads: dict[bytes, tuple[bytes, bytes]] = {}
        fields = links[:-1].split(b"\0")[:-1]
        for at in range(0, len(fields) - 2, 3):
            leads[fields[at]] = fields[at + 1], fields[at + 2]
        return list(self._entries(lines, leads))

    def _entries(self, lines: bytes, leads: dict[bytes, tuple[bytes, bytes]]) -> Iterator[Found]:
        for record in lines.split(b"//\n")[:-1]:
            *facts, path = record.split(b"|", self._bars)
            target, kind = leads.get(path, (b"", b"N")) if self._links else (b"", b"N")
            if not path.startswith(self._inside):
                raise MisprintError("a path is not one below the directory")
            yield _below(path[len(self._inside) :]), parse_line(b"|".join(facts), target, kind)


def _below(path: bytes) -> str:
    if not path or path.startswith(b"/"):
        raise MisprintError("a path is not one below the directory")
    return text_of(path)


def scandir(place: Place, path: object, *, recursive: bool, deadline: float | None) -> Entries:
    """Iterate over the entries of a directory; see `AsyncFiles.scandir`."""
    depth = None if check.check_boolean("recursive", recursive) else 1
    return Entries(Listing(place, path, "scandir", depth=depth, deadline=deadline), str(path))


def walk(place: Place, path: object, *, deadline: float | None) -> Walk:
    """Iterate over the directories of a tree; see `AsyncFiles.walk`."""
    return Walk(Listing(place, path, "walk", depth=None, deadline=deadline), str(path))


class Entries(AsyncItems[FileEntry]):
    """The entries of a directory."""

    def __init__(self, listing: Listing, root: str) -> None:
        """Make the entries of a list.

        Args:
            listing: The list.
            root: The directory, as the caller calls it.
        """
        self._listing = listing
        self._root = root

    async def __anext__(self) -> FileEntry:
        return self._entry(await self._listing.__anext__())

    def _at_hand(self) -> list[FileEntry]:
        return [self._entry(found) for found in self._listing._at_hand()]  # pyright: ignore[reportPrivateUsage]

    def _entry(self, found: Found) -> FileEntry:
        path, stat = found
        return FileEntry(name=posixpath.basename(path), path=posixpath.join(self._root, path), stat=stat)

    async def aclose(self) -> None:
        await self._listing.aclose()


class Walk(AsyncItems[tuple[str, list[str], list[str]]]):
    """The directories of a tree from the top down, each with the names of its directories and of its other entries."""

    def __init__(self, listing: Listing, root: str) -> None:
        """Make the walk of a list that goes to the bottom."""
        self._listing = listing
        self._root = root
        self._content: dict[str, tuple[list[str], list[str]]] = {"": ([], [])}
        self._listed = False
        self._last: tuple[str, list[str]] | None = None
        self._left: list[str] = [""]

    async def __anext__(self) -> tuple[str, list[str], list[str]]:
        if not self._listed:
            content = self._content
            async for path, stat in self._listing:
                above, _, name = path.rpartition("/")
                directories, others = content.setdefault(above, ([], []))
                leads_to = stat.target_kind if stat.is_symlink else stat.kind
                (directories if leads_to == "directory" else others).append(name)
                if stat.is_dir:
                    content.setdefault(path, ([], []))
            self._listed = True
        if self._last is not None:
            # The caller may have taken names out of the list, or changed their order.
            path, names = self._last
            self._left += [f"{path}/{name}" if path else name for name in reversed(names)]
            self._last = None
        while self._left:
            path = self._left.pop()
            found = self._content.pop(path, None)
            if found is not None:  # else it is a symlink, or has gone
                self._last = path, found[0]
                return posixpath.join(self._root, path) if path else self._root, *found
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._left.clear()
        self._last = None
        self._content.clear()
        await self._listing.aclose()


__all__ = ["LIST", "Entries", "Listing", "Parser", "Walk", "listdir", "parser_of", "scandir", "walk"]
