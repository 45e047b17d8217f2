"""Flame graphs of what py-spy has sampled: processes of one kind are one, and what is too narrow is left out.

py-spy draws each process by itself, and none of those that live for some milliseconds only.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field

_SMALLEST: Final = 0.008
"""The share of all samples below which a frame is left out: it is too narrow to be read."""

_RECORDS: Final = re.compile(r"^(.+?) (\d+)$(?=\n(?:process \d+:\"|[^\n]* \d+$)|\n*\Z)", re.MULTILINE | re.DOTALL)
_PROCESS: Final = re.compile(r'process \d+:"(.*?)"(?=;|\Z)', re.DOTALL)
_FRAMES: Final = re.compile(r'(<svg id="frames"[^>]*total_samples=")\d+(">).*?(</svg>)', re.DOTALL)
_TOP: Final = 52
"""Where a drawing of py-spy begins."""

_STEP: Final = 16
"""The height of a frame; those that it has called are below it."""

_CHARACTERS: Final = 1180 / (12 * 0.59)
"""Characters that fit into the width of the drawing."""


@define
class Frame:
    """A function, or a process, with all samples of it and of what it has called.

    Attributes:
        name: Its name.
        samples: The number of samples.
        inner: What it has called, by its names.
    """

    name: str
    samples: int = 0
    inner: dict[str, Frame] = field(factory=dict[str, "Frame"])

    @property
    def depth(self) -> int:
        """The longest chain of calls."""
        return 1 + max((inner.depth for inner in self.inner.values()), default=0)


def read(text: str, kind_of: Callable[[str], str]) -> Frame:
    """Read what py-spy has written in its format ``raw``, and return the outermost frame.

    Args:
        text: A line for each chain of calls; the command line of a process may contain line breaks.
        kind_of: Returns the name to show for a process, of its command line.
    """
    root = Frame("all")
    kinds: set[str] = set()

    def kind(process: re.Match[str]) -> str:
        kinds.add(kind_of(process[1]))
        return kind_of(process[1])

    for record in _RECORDS.finditer(text):
        count = int(record[2])
        names = _PROCESS.sub(kind, record[1]).split(";")
        if names[-1] in kinds:
            continue  # a process that is about to become another program: no function runs
        root.samples += count
        frame = root
        for name in names:
            if name == frame.name and name in kinds:
                continue  # a process that is not a program of its own yet
            frame = frame.inner.setdefault(name, Frame(name))
            frame.samples += count
    return root


def drawn(root: Frame, title: str, drawing: str) -> str:
    """Return a flame graph.

    Args:
        root: What is drawn.
        title: The title.
        drawing: Any flame graph of py-spy that is as high or higher, whose frames are replaced.
    """
    frames = "\n".join(_lines(root, 0, 0, root.samples))
    drawing, count = _FRAMES.subn(lambda svg: f"{svg[1]}{root.samples}{svg[2]}{frames}{svg[3]}", drawing, count=1)
    if not count:
        raise ValueError("drawing: expected a flame graph of py-spy")
    return re.sub(r'(<text id="title"[^>]*>)[^<]*', lambda text: text[1] + html.escape(title), drawing, count=1)


def _lines(frame: Frame, x: int, line: int, total: int) -> Iterator[str]:
    if frame.samples < _SMALLEST * total:
        return
    left, width, y = 100 * x / total, 100 * frame.samples / total, _TOP + _STEP * line
    fitting = int(width / 100 * _CHARACTERS)
    text = frame.name if len(frame.name) <= fitting else f"{frame.name[: fitting - 2]}.." if fitting > 4 else ""
    shade = sum(frame.name.encode()) % 130
    yield (
        f"<g><title>{html.escape(frame.name)} ({frame.samples:,} samples, {width:.2f}%)</title>"
        f'<rect x="{left:.4f}%" y="{y}" width="{width:.4f}%" height="15" '
        f'fill="rgb({220 + shade // 4},{80 + shade},40)" fg:x="{x}" fg:w="{frame.samples}"/>'
        f'<text x="{left + 0.25:.4f}%" y="{y + 10.5:.2f}">{html.escape(text)}</text></g>'
    )
    # The widest to the left, so that what is left out leaves one gap.
    for inner in sorted(frame.inner.values(), key=lambda each: each.samples, reverse=True):
        yield from _lines(inner, x, line + 1, total)
        x += inner.samples


__all__ = ["Frame", "drawn", "read"]
