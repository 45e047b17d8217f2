"""Prose, examples and annotations of the async surface, turned into those of the blocking one."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Final

from tools.facade.layout import WIDTH

PHRASES: Final = (
    (
        "A client of Arker VMs for asyncio programs.",
        "A client of Arker VMs for blocking programs: scripts, notebooks, threads.",
    ),
    (
        "One client serves a whole program: any number of tasks, and event loops that come one after another or live "
        "in several threads (it opens connections for each). ``async with`` or `aclose` ends it. While an "
        "``async with`` block lasts in the main thread, SIGTERM cancels it, so that VMs are deleted, unless the "
        "program handles the signal itself.",
        "One client serves a whole program and any number of threads. ``with`` or `close` ends it; a client that is "
        "not closed is closed at exit. While a ``with`` block lasts in the main thread, SIGTERM ends it, so that VMs "
        "are deleted, unless the program handles the signal itself. Ctrl-C cancels the call that is going on, and its "
        "clean-up is waited for. An event loop that runs in the caller's thread stands still during a call: use "
        "`arker.AsyncArker` there.",
    ),
    (
        "Arker VMs from asyncio: fork a VM, run commands in it, sync files in and out.",
        "Arker VMs from blocking code: fork a VM, run commands in it, sync files in and out.",
    ),
)
"""Phrases and their replacements, however their lines are wrapped. Each must be found, or the generator fails."""

_TYPES: Final = {
    "AsyncIterator": "Iterator",
    "AsyncIterable": "Iterable",
    "AbstractAsyncContextManager": "AbstractContextManager",
}


class Turner:
    """A converter of texts.

    Attributes:
        names: Async class to blocking class.
        unused: The entries of `PHRASES` that were not found yet.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.unused = {before for before, _ in PHRASES}
        self._words = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, {**names, **_TYPES})) + r")\b")
        self._dotted = re.compile(r"(?<![\w.])arker\.(" + "|".join(map(re.escape, names)) + r")\b")

    def annotation(self, source: str) -> str:
        """Convert an annotation, or another piece of code without ``await``."""
        text = self._words.sub(lambda match: {**self.names, **_TYPES}[match[1]], " ".join(source.split()))
        text = self._dotted.sub(lambda match: f"arker_sync.{self.names[match[1]]}", text)
        while (start := text.find("Awaitable[")) >= 0:
            end = _closing(text, start + len("Awaitable"))
            text = text[:start] + text[start + len("Awaitable[") : end] + text[end + 1 :]
        # Where a caller may pass an asynchronous iterable or an ordinary one, it is the ordinary one.
        return re.sub(r"(Iterable\[\w+\]) \| \1", r"\1", text)

    def docstring(self, text: str) -> str:
        """Convert a docstring, and return it in its quotes."""
        return f'{"r" if chr(92) in text else ""}"""{self.prose(text)}"""'

    def prose(self, text: str) -> str:
        """Convert the words and examples of a docstring."""
        for before, after in PHRASES:
            place = re.search(r"\s+".join(map(re.escape, before.split())), text)
            if place is not None:
                self.unused.discard(before)
                text = _replaced(text, place, after)
        text = _without_await(text)
        text = re.sub(
            r"\b([Aa])n (``)?async (?=context manager|with\b)", lambda match: f"{match[1]} {match[2] or ''}", text
        )
        text = re.sub(r"\b([Aa])sync (context manager|iterator)", _sentence_case, text)
        text = re.sub(r"\basync (with|for|def)\b", r"\1", text)
        text = re.sub(r"\bfrom arker import\b", "from arker_sync import", text)
        text = re.sub(r"(?<=[`.])aclos(e|ing)\b", r"clos\1", text)
        text = re.sub(r"\b((?:[Oo]ther|[Aa]nother|[Oo]ne) )task", r"\1thread", text)
        return self._words.sub(lambda match: {**self.names, **_TYPES}[match[1]], text)


def _sentence_case(match: re.Match[str]) -> str:
    return match[2].capitalize() if match[1] == "A" else match[2]


def _replaced(text: str, place: re.Match[str], after: str) -> str:
    """Replace words in a paragraph, and wrap its lines again."""
    start = text.rfind("\n\n", 0, place.start()) + 2 if "\n\n" in text[: place.start()] else 0
    end = text.find("\n\n", place.end())
    end = len(text.rstrip()) if end < 0 else end
    indent = re.match(r" *", text[start:end])
    assert indent is not None
    words = text[start : place.start()] + after + text[place.end() : end]
    # The first line of a docstring stands behind its quotes.
    lines = textwrap.wrap(" ".join(words.split()), WIDTH - len(indent[0]) - (0 if start else 3), break_on_hyphens=False)
    return text[:start] + textwrap.indent("\n".join(lines), indent[0]) + text[end:]


def _without_await(text: str) -> str:
    """Remove ``await``, and the parentheses that it needs."""
    while (start := text.find("(await ")) >= 0:
        end = _closing(text, start)
        inner = text[start + len("(await ") : end]
        # Those of a call stay.
        keep = text[start - 1 : start].isidentifier() or text[start - 1 : start] == ")"
        text = text[:start] + (f"({inner})" if keep else inner) + text[end + 1 :]
    return re.sub(r"\bawait (?=[\w(])", "", text)


def _closing(text: str, start: int) -> int:
    """Return the position that closes the bracket at ``start``."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in "([{") - (text[index] in ")]}")
        if depth == 0:
            return index
    raise ValueError(f"no closing bracket: {text[start:]}")


__all__ = ["PHRASES", "Turner"]
