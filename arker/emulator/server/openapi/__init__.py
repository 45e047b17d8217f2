"""The OpenAPI document of the server. It is made when it is first asked for, and so are the models loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker._basics.lazy import lazily

if TYPE_CHECKING:
    from arker.emulator.server.openapi.description import document, encoded

PATH: Final = "/openapi.json"

__getattr__, __dir__ = lazily(__name__, {"arker.emulator.server.openapi.description": "document encoded"})

__all__ = ["PATH", "document", "encoded"]
