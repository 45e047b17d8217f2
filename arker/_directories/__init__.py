"""Whole directories, in and out of a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._directories import download as download
    from arker._directories import upload as upload
    from arker._directories import work as work

__getattr__, __dir__ = lazy_modules(__name__, "download", "upload", "work")
