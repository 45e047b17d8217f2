"""The base of the parts of `AsyncFiles`."""

from __future__ import annotations

from attrs import field, frozen

from arker._context import Place


@frozen(repr=False, slots=False)
class FilesBase:
    """The place of a VM."""

    _place: Place = field()


__all__ = ["FilesBase"]
