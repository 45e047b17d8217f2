"""Files of a VM as `os` and `pathlib` know them: looked at and changed by one command each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._paths import changes as changes
    from arker._paths import checks as checks
    from arker._paths import contents as contents
    from arker._paths import globbing as globbing
    from arker._paths import listing as listing
    from arker._paths import opened as opened
    from arker._paths import searching as searching
    from arker._paths import status as status
    from arker._paths import watching as watching

__getattr__, __dir__ = lazy_modules(
    __name__, "changes", "checks", "contents", "globbing", "listing", "opened", "searching", "status", "watching"
)
