"""The version of the package, from the distribution's metadata."""

from __future__ import annotations

from functools import cache


@cache
def version() -> str:
    """Return the version of the installed distribution; ``0+unknown`` in a checkout that was never installed."""
    # The metadata's reader takes longer to import than the rest of this package's own code; and to look in it takes as
    # long as all else that is done for a new client, which tells the version in each request.
    from importlib import metadata

    try:
        return metadata.version("arker-async")
    except metadata.PackageNotFoundError:
        return "0+unknown"
