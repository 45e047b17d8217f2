"""Arker VMs from asyncio: fork a VM, run commands in it, sync files in and out.

    from arker import AsyncArker

    async with AsyncArker(region="us-west-2") as ar:
        vm = await ar.fork("ubuntu")
        result = await vm.run("echo hi")
        await vm.sync("/tmp/in.txt", b"hello")
        await vm.delete()

``AsyncArker.local()`` is the same client on an embedded backend that needs no account and no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker._retry import RetryPolicy
from arker._routes import ARKER_ORG_ID, GOLDEN_NAMES
from arker.client import AsyncArker
from arker.config import HttpTimeouts
from arker.errors import *  # noqa: F403 - its __all__ is the error tree
from arker.models import *  # noqa: F403 - its __all__ is the wire shapes
from arker.vm import AsyncVM

from . import errors, models

if TYPE_CHECKING:
    __version__: str

__all__ = ["ARKER_ORG_ID", "GOLDEN_NAMES", "AsyncArker", "AsyncVM", "HttpTimeouts", "RetryPolicy"]
__all__ += errors.__all__
__all__ += models.__all__


_DEPRECATED: Final = {
    "SessionInfo": "Session",
    "RunStatusResponse": "Run",
    "RunNetworkRequest": "NetworkRequest",
    "RunNetworkStatus": "NetworkStatus",
    "RunInboundPortRequest": "InboundPortRequest",
    "RunTunnelStatus": "Tunnel",
}
"""Older names of the wire shapes (contract, section 9)."""


def __getattr__(name: str) -> object:
    if name in _DEPRECATED:
        import warnings

        warnings.warn(f"arker.{name} is an older name of arker.{_DEPRECATED[name]}", DeprecationWarning, stacklevel=2)
        return getattr(models, _DEPRECATED[name])
    if name == "__version__":
        from arker._version import version

        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
