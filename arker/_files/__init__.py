"""Streaming file transfers to and from a VM (contract, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._files import checks as checks
    from arker._files import downloads as downloads
    from arker._files import many as many
    from arker._files import many_downloads as many_downloads
    from arker._files import opening as opening
    from arker._files import sources as sources
    from arker._files import uploads as uploads
    from arker._files import whole as whole

__getattr__, __dir__ = lazy_modules(
    __name__, "checks", "downloads", "many", "many_downloads", "opening", "sources", "uploads", "whole"
)
