"""What evaluates the blocks of pages notices what is wrong with them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sybil.example import SybilFailure

from tests.pages.blocks import Block, Page
from tests.pages.program import Arker
from tests.support.clients import COMPUTE, CONTROL
from tests.support.secrets import API_KEY
from tests.support.server import ScriptedServer, ok
from tests.support.waiting import block_until

Run = Callable[[str], Page]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    pages: list[Page] = []

    def run(text: str) -> Page:
        path = tmp_path / "page.md"
        path.write_text(text)
        page = Page(path, tmp_path, {})
        pages.append(page)
        page.run()
        return page

    yield run
    for page in pages:
        page.close()


def block(language: str, source: str) -> str:
    return f"```{language}\n{source}\n```\n\n"


PRINTS = block("python", "import asyncio\n\nasync def main():\n    print('one')\n\nasyncio.run(main())")


def test_what_is_right_passes_and_is_counted(run: Run) -> None:
    fragments = block("python", "import asyncio\nvalue = await asyncio.sleep(0, 7)") + block(
        "python", "assert value == 7"
    )
    shell = block("sh", "name=x\nprintf 'no line feed'") + block("sh", 'test "$name" = x')
    page = run(PRINTS + block("", "one") + fragments + shell + block("json", '{"a": 1}') + block("text", "anything"))
    assert page.counts == {"program": 1, "output": 1, "fragment": 2, "sh": 2, "data": 1, "text": 1}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (PRINTS + block("", "two"), "expected 'two"),
        (block("", "one"), "an output without a program"),
        (block("python", "import asyncio\nasyncio.run(None)"), "exit code 1"),
        (block("sh", "false"), "exit code 1"),
        (block("sh", 'echo "$not_set"'), "exit code 1"),
        (block("json", '["a"]'), "no mapping"),
        (block("js", "console.log(1)"), "the first line is to name the file"),
    ],
)
def test_what_is_wrong_fails(run: Run, text: str, error: str) -> None:
    with pytest.raises(SybilFailure, match=error):
        run(text)


def test_a_fragment_that_raises_fails(run: Run) -> None:
    with pytest.raises(ZeroDivisionError):
        run(block("python", "1 / 0"))


def test_a_language_that_cannot_be_run_is_no_silent_gap(run: Run) -> None:
    with pytest.raises(AssertionError, match="no way to run a block of 'ruby'"):
        run(block("ruby", "puts 1"))


def test_what_is_skipped_needs_a_reason_and_is_told(run: Run) -> None:
    page = run('<!--- skip: next "it needs a network" -->\n\n' + block("sh", "false"))
    assert page.skipped == ["line 3: it needs a network"]
    assert list(page.blocks()) == [Block(3, "sh", hidden=False, reason="it needs a network")]


def test_how_blocks_are_run_is_told_without_running_them(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    hidden = "<!--- invisible-code-block: python\nraise ValueError\n-->\n\n"
    path.write_text(PRINTS + block("", "one") + hidden + block("sh", "false"))
    page = Page(path, tmp_path, {})
    found = [(each.kind, each.hidden, each.reason) for each in page.blocks()]
    page.close()
    assert found == [(kind, kind == "fragment", None) for kind in ("program", "output", "fragment", "sh")]


def test_the_program_of_a_page_s_shell(run: Run) -> None:
    page = run(block("sh", "mkdir in; cd in; arker --version | tr a-z A-Z; arker nothing 2> said || echo $?; cat said"))
    version, status, said = str(page.document.namespace["printed"]).splitlines()
    assert version.startswith("ARKER-ASYNC ")
    assert status == "2"
    assert said.startswith("arker: ")


def test_the_program_of_a_shell_that_is_killed_ends(server: ScriptedServer) -> None:
    server.answer(ok({"vms": []}, delay=600))
    urls = {"ARKER_BASE_URL": server.url + COMPUTE, "ARKER_CONTROL_BASE_URL": server.url + CONTROL}
    arker = Arker()
    try:
        command = [str(arker.directory / "arker"), "ls"]
        env = {**os.environ, **urls, "ARKER_API_KEY": API_KEY, "ARKER_LEDGER": "off"}
        with subprocess.Popen(command, env=env) as program:
            block_until(lambda: server.requests)
            program.kill()
    finally:
        arker.close()  # waits for it
    assert not arker.directory.exists()


def test_what_a_page_starts_ends_with_it(run: Run) -> None:
    page = run(block("sh", "sleep 1000 > sleeping 2>&1 &\necho $!"))
    child = int(str(page.document.namespace["printed"]))
    assert Path(f"/proc/{child}").exists()
    page.close()
    patience = time.monotonic() + 30
    while Path(f"/proc/{child}/exe").exists():  # it has the signal, and takes its time to end
        assert time.monotonic() < patience
        time.sleep(0.01)
