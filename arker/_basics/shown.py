"""Texts of others as they may be shown: in which nothing passes for another line, or moves a terminal's cursor."""

from __future__ import annotations


def shown(text: str, *, lines: bool = False) -> str:
    """Escape what is not printable: control characters, separators of lines, marks that change a text's direction.

    Args:
        text: The text, of a server or a VM.
        lines: Whether it may have several lines. The further ones are indented, since they are of the same message.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n    ".join(shown(line) for line in text.split("\n"))
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


__all__ = ["shown"]
