"""What the suites share: an environment that leads to an embedded backend, and the programs of the docs' pages."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from arker import AsyncArker
from arker.emulator import Emulator

ROOT: Final = Path(__file__).parents[2]
BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def set_environment(patch: pytest.MonkeyPatch, emulator: Emulator, directory: Path) -> None:
    """Set the environment of a user who has a key; the service is the embedded backend."""
    patch.setenv("ARKER_API_KEY", emulator.api_key)
    for name in ("ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_CONTROL_BASE_URL"):
        patch.setenv(name, emulator.url)
    patch.setenv("ARKER_LEDGER", str(directory / "ledger.sqlite3"))


def count_vms() -> int:
    """Return how many VMs there are on the backend of the environment."""

    async def count() -> int:
        async with AsyncArker() as client:
            return len((await client.list_vms()).vms)

    return asyncio.run(count())


def run_page(name: str, directory: Path) -> int:
    """Run the programs of a page by themselves, compare what they print with the page, and return their number."""
    text = (ROOT / "docs" / "integrations" / f"{name}.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    programs = 0
    for number, (language, code) in enumerate(blocks):
        if language == "yaml":
            (directory / "arker.yaml").write_text(code, encoding="utf-8")
        if language != "python":
            continue
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert "arker" not in done.stderr, done.stderr
        if number + 1 < len(blocks) and blocks[number + 1][0] == "text":
            assert done.stdout == blocks[number + 1][1]
        programs += 1
    return programs
