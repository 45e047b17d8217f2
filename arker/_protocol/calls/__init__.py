"""One pure function for each operation, returning a `Call` as a value; one file a noun (contract, sections 5 and 6).

The calls bring the codec, the routes and most of the protocol along, so the client's parts load them when they send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._protocol.calls import api_keys as api_keys
    from arker._protocol.calls import filesystems as filesystems
    from arker._protocol.calls import pools as pools
    from arker._protocol.calls import runs as runs
    from arker._protocol.calls import service as service
    from arker._protocol.calls import vms as vms

__getattr__, __dir__ = lazy_modules(__name__, "api_keys", "filesystems", "pools", "runs", "service", "vms")
