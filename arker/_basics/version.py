"""The version of the package, from the distribution's metadata."""

from __future__ import annotations


def version() -> str:
    """Return the version of the installed distribution; ``0+unknown`` in a checkout that was never installed."""
    # The metadata's reader takes longer to import than the rest of this package's own code.
    from importlib import metadata

    try:
        return metadata.version("arker-async")
    except metadata.PackageNotFoundError:
        return "0+unknown"
