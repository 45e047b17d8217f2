"""Docstrings made into reStructuredText: their examples stand indented, without markup of their own."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator


def marked(lines: list[str]) -> list[str]:
    """Return a docstring's lines with a directive before each indented paragraph that is no part of a section."""
    return [line for paragraph in _paragraphs(lines) for line in paragraph]


def examples(lines: list[str]) -> list[str]:
    """Return the examples of a docstring, as programs."""
    return [textwrap.dedent("\n".join(block)) for block, is_code in _blocks(lines) if is_code]


def language(code: str) -> str:
    """Return the language of an example: some are drawings."""
    try:
        compile(code, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    except SyntaxError:
        return "text"
    return "python"


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    for block, is_code in _blocks(lines):
        if is_code:
            yield [f".. code-block:: {language(textwrap.dedent(chr(10).join(block)))}", "", *block, ""]
        else:
            yield block


def _blocks(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """Split lines into code and the rest. Code begins indented, after a blank line that follows text at the margin."""
    block: list[str] = []
    is_code = False
    before = ""
    for number, line in enumerate(lines):
        indented = line.startswith("    ") or not line.strip()
        follows = bool(before) and not before.startswith(" ") and not before.rstrip().endswith("::")
        starts = line.startswith("    ") and follows and not lines[number - 1].strip()
        if (not is_code and starts) or (is_code and not indented):
            yield block, is_code
            block, is_code = [], not is_code
        block.append(line)
        if line.strip():
            before = line
    yield block, is_code
