"""The sizes that the contract bounds, in bytes. They stand apart from the models, which take longer to load."""

from __future__ import annotations

from typing import Final

CHUNK_SIZE: Final = 4 * 1024 * 1024
"""Maximum size in bytes of a file that is sent inline, in one chunk (contract, section 6)."""

MAX_PUT_SIZE: Final = 5 * 1024 * 1024 * 1024
"""Maximum size in bytes of the body of one PUT to an object store (contract, section 7)."""


__all__ = ["CHUNK_SIZE", "MAX_PUT_SIZE"]
