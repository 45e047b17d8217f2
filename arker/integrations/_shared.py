"""What several integrations need: a client."""

from __future__ import annotations

from arker import AsyncArker
from arker.config import has_api_key


def make_client() -> AsyncArker:
    """Make a client: of the cloud if the environment has an API key, else of an embedded backend of its own."""
    return AsyncArker() if has_api_key() else AsyncArker.local()


__all__ = ["make_client"]
