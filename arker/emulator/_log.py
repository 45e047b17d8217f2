"""The server's log: one line per record, without secrets and without text that could forge a line."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from types import TracebackType
from typing import Final, TypeAlias
from urllib.parse import quote

_Caught: TypeAlias = (
    "tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]"  # of sys.exc_info()
)
_HIDDEN: Final = "[hidden]"
# This includes the secrets of tunnels and presigned URLs, which are made while the server runs.
_CREDENTIALS = re.compile(r"(?i)\b(bearer\s+|basic\s+|(?:signature|grant|token)=)[^\s'\"&\\]+")


class LogFormatter(logging.Formatter):
    """The format of the log's records."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets: re.Pattern[str] | None = None

    def hide(self, secrets: Iterable[str]) -> None:
        """Redact these secrets in everything that is logged from now on, however they are escaped there."""
        forms = {
            form
            for secret in secrets
            for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""))
        }
        self._secrets = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))

    def format(self, record: logging.LogRecord) -> str:
        # Do not reuse a traceback that another handler has formatted.
        record.exc_text = None
        text = super().format(record)
        if self._secrets is not None:
            text = self._secrets.sub(_HIDDEN, text)
        return _CREDENTIALS.sub(rf"\g<1>{_HIDDEN}", text)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _on_one_line(super().formatMessage(record))

    def formatException(self, ei: _Caught) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _on_one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _indented(text: str) -> str:
    return "\n".join(f"    {_on_one_line(line)}" for line in text.split("\n"))


def set_up_log() -> LogFormatter:
    """Send the process's log to standard error. Returns the formatter; pass it the secrets by `hide`."""
    formatter = LogFormatter()
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    return formatter


class NoRequests(logging.Filter):
    """A filter that removes quoted parts of malformed requests from aiohttp's log: any part of them may be secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and type(error).__module__.startswith("aiohttp.http"):
            record.msg, record.args = "a malformed request was refused: %s", (type(error).__name__,)
            record.exc_info = None
        return True


__all__ = ["LogFormatter", "NoRequests", "set_up_log"]
