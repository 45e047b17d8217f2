"""Providers and regions in settings: the host that a client's requests go to."""

from __future__ import annotations

import re
from typing import Final

from arker.errors import InvalidArgumentError

NO_REGION: Final = (
    "a region or a base URL is required: pass region= (such as 'us-west-2') or base_url=, "
    "or set ARKER_REGION or ARKER_BASE_URL"
)
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""A label of a host name: the provider and the region become parts of one."""


def provider_of(argument: str, value: object) -> str:
    """Check a provider, and return it as it is written in URLs."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if not re.fullmatch(_LABEL, text):
        raise InvalidArgumentError(argument, value, "expected a provider such as 'aws'")
    return "aws-burst" if text == "burst" else text


def region_of(argument: str, value: object, provider: str) -> tuple[str, str]:
    """Check a region, and return it with its provider, which an older spelling of the region names, too."""
    text = value.strip().lower() if isinstance(value, str) else ""
    # Legacy combined forms; the longer prefix is first, because the shorter one is a part of it.
    if text.startswith("aws-burst-"):
        text, provider = text.removeprefix("aws-burst-"), "aws-burst"
    elif text.startswith("aws-"):
        text, provider = text.removeprefix("aws-"), "aws"
    # The value becomes part of the name of a host that receives the key.
    if not re.fullmatch(_LABEL, text):
        raise InvalidArgumentError(argument, value, "expected a region such as 'us-west-2'")
    return text, provider


def built_url(provider: str, region: str) -> str:
    """Return the base URL of a provider's region."""
    return f"https://{provider}-{region}.arker.ai/api"


__all__ = ["NO_REGION", "built_url", "provider_of", "region_of"]
