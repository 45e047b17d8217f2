"""The base of the parts of `AsyncFiles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from arker._basics.guidance import findable, instead
from arker._context import Place


@frozen(repr=False, slots=False)
class FilesBase:
    """The place of a VM."""

    _place: Place = field()

    if not TYPE_CHECKING:
        __getattr__ = instead
        __init_subclass__ = findable


__all__ = ["FilesBase"]
