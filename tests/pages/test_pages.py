"""Every block of every page runs, and what does not says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from arker import AsyncArker
from arker.emulator import Emulator
from tests.pages.blocks import PAGES, ROOT, Page
from tests.support.forked import fork_backends


@pytest.fixture
def reader(arker_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Emulator:
    """Set the environment of a reader who has a key; the service is the embedded backend."""
    monkeypatch.setenv("ARKER_API_KEY", arker_emulator.api_key)
    for name in ("ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_CONTROL_BASE_URL"):
        monkeypatch.setenv(name, arker_emulator.url)
    monkeypatch.setenv("ARKER_LEDGER", str(tmp_path / "ledger.sqlite3"))
    fork_backends(monkeypatch)  # those that a page itself starts
    return arker_emulator


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_the_blocks_of_a_page(path: Path, reader: Emulator, tmp_path: Path, record_property: object) -> None:
    directory = tmp_path / "project"
    directory.mkdir()
    ar = AsyncArker(**reader.client_options)
    page = Page(path, directory, {"__name__": "page", "emulator": reader, "ar": ar})
    try:
        page.run()
    finally:
        page.loop.run_until_complete(ar.aclose())
        page.close()
    print(path.relative_to(ROOT), page.counts, *page.skipped, sep="; ")


def test_there_are_pages() -> None:
    assert {"README.md", "CHANGELOG.md", "runs.md"} <= {path.name for path in PAGES}
