"""The removal of the API key from texts that may repeat it (contract, section 8)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST_PART: Final = 8
"""Characters; a shorter prefix of the key at the end of a text counts as a coincidence."""

_REDACTED: Final = "[redacted]"


class Redactor:
    """A function that removes the key from a text, in every form of escaping."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._pattern: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        if self._pattern is None:
            self._pattern = _pattern(self._key)
        text = self._pattern.sub(_REDACTED, text)
        # The text may have been cut amid the key.
        for length in range(min(len(self._key) - 1, len(text)), SHORTEST_PART - 1, -1):
            if text.endswith(self._key[:length]):
                return text[:-length] + _REDACTED
        return text


def _pattern(key: str) -> re.Pattern[str]:
    html = key.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    forms = {
        key,
        quote(key, safe=""),
        quote(key),
        quote_plus(key),
        key.replace("\\", "\\\\").replace('"', '\\"'),  # JSON
        repr(key)[1:-1],
        html,
        html.replace('"', "&quot;").replace("'", "&#x27;"),
        html.replace('"', "&#34;").replace("'", "&#39;"),
    }
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


__all__ = ["Redactor"]
