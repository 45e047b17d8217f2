"""The words of comments, docstrings, messages and pages: those that hide who does what are not used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TEXTS: Final = sorted(
    path
    for place in ("arker", "arker_pytest", "arker_sync", "benchmarks", "docs", "examples", "tools", "README.md")
    for path in ([ROOT / place] if (ROOT / place).is_file() else (ROOT / place).rglob("*"))
    if path.suffix in {".py", ".md", ".sh"}
)
VAGUE: Final = re.compile(r"\b(nobody|whoever|somebody|everybody|anybody|for ever)\b", re.IGNORECASE)
USER_NOBODY: Final = re.compile(r"`nobody`|nobody:x:65534:65534:nobody:")
"""The system's user of that name."""


def test_sentences_say_who_does_what() -> None:
    assert len(TEXTS) > 200
    found: list[str] = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if VAGUE.search(USER_NOBODY.sub("", line)):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)
