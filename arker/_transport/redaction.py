"""The removal of the API key and other secrets from texts that may repeat them (contract, section 8)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST_PART: Final = 8
"""Characters; a shorter prefix of the key at the end of a text counts as a coincidence."""

SHORTEST_SECRET: Final = 4
"""Characters; a shorter secret is a part of nearly every text."""

_REDACTED: Final = "[redacted]"


class Redactor:
    """A function that removes the key from a text, in every form of escaping, and other secrets as well."""

    def __init__(self, key: str, *others: str) -> None:
        self._secrets = (key, *[other for other in others if len(other) >= SHORTEST_SECRET])
        self._pattern: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        if self._pattern is None:
            self._pattern = _pattern(self._secrets)
        text = self._pattern.sub(_REDACTED, text)
        # The text may have been cut amid a secret.
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(text)), SHORTEST_PART - 1, -1):
                if text.endswith(secret[:length]):
                    return text[:-length] + _REDACTED
        return text


def _pattern(secrets: Iterable[str]) -> re.Pattern[str]:
    forms = {form for secret in secrets for form in _forms(secret)}
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


def _forms(key: str) -> set[str]:
    html = key.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        key,
        quote(key, safe=""),
        quote(key),
        quote_plus(key),
        key.replace("\\", "\\\\").replace('"', '\\"'),  # JSON
        repr(str(key))[1:-1],  # of the text, which a `Hidden` does not show
        html,
        html.replace('"', "&quot;").replace("'", "&#x27;"),
        html.replace('"', "&#34;").replace("'", "&#39;"),
    }


__all__ = ["Redactor"]
