"""The server's log: what is hidden in it, and that nothing in a record passes for another one."""

from __future__ import annotations

import json
import logging
import sys
from urllib.parse import quote

import pytest

from arker.emulator._log import LogFormatter

KEY = "quoted'\"\\%key/+"


def record(message: str, *args: object, exc_info: bool = False) -> logging.LogRecord:
    caught = sys.exc_info() if exc_info else None
    return logging.LogRecord("arker.emulator", logging.ERROR, __file__, 1, message, args, caught)


def formatted(entry: logging.LogRecord) -> str:
    formatter = LogFormatter()
    formatter.hide([KEY, "another-key"])
    return formatter.format(entry)


@pytest.mark.parametrize(
    "text", [KEY, repr(KEY), json.dumps(KEY), quote(KEY), quote(KEY, safe=""), f"x{KEY}y", "another-key"]
)
def test_keys_are_hidden_however_they_are_escaped(text: str) -> None:
    told = formatted(record("a request failed: %s", text))
    assert "key" not in told
    assert "[hidden]" in told


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer S3CRET",
        "b'authorization: bearer  S3CRET\\n'",
        "/p?signature=S3CRET&grant=S3CRET",
        "Basic S3CRET",
    ],
)
def test_what_looks_like_a_credential_is_hidden_too(text: str) -> None:
    assert "S3CRET" not in formatted(record(text))


def test_a_record_is_one_line_and_moves_no_cursor() -> None:
    told = formatted(record("VM %s", "a\n2026-01-01 00:00:00 ERROR forged\r\x1b[2J\u202e\u2028"))
    assert told.endswith(r"VM a\n2026-01-01 00:00:00 ERROR forged\r\x1b[2J\u202e\u2028")
    assert told.isprintable()


def test_a_traceback_is_indented() -> None:
    try:
        raise ValueError("first\n2026-01-01 00:00:00 ERROR forged\x1b[2J another-key")
    except ValueError:
        told = formatted(record("it failed", exc_info=True)).split("\n")
    assert told[0].endswith("it failed")
    assert all(line.startswith("    ") and line.isprintable() for line in told[1:])
    assert told[-1] == r"    2026-01-01 00:00:00 ERROR forged\x1b[2J [hidden]"
