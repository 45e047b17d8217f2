"""The blocking client of Arker VMs. Not there yet: importing it says so."""

raise ImportError(
    "arker_sync, the blocking client, is not part of this version; use the async client: from arker import AsyncArker"
)
