# Generated from arker/_vmfiles/base.py by "nox -s facade": change that file, not this one.
"""The base of the parts of `Files`."""

from __future__ import annotations

import arker
from arker_sync._bridge.facade import Facade


class FilesBase(Facade):
    """The place of a VM."""

    _async: arker.AsyncFiles


__all__ = ["FilesBase"]
