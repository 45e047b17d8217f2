"""Foreign texts made safe to show: nothing in them can fake another line, or move a terminal's cursor."""

from __future__ import annotations


def shown(text: str, *, lines: bool = False) -> str:
    """Escape unprintable characters: control characters, line separators, marks that change a text's direction.

    Args:
        text: The text of a server or a VM.
        lines: Whether it may have several lines. Further lines are indented, since they belong to the same message.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n    ".join(shown(line) for line in text.split("\n"))
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


__all__ = ["shown"]
