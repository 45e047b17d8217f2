"""``arker whoami`` and ``arker regions``: the service."""

from __future__ import annotations

from arker._cli import output, statuses
from arker._cli.connection import Where, connected


async def whoami(*, json: bool = False, where: Where = None) -> int:
    """Print the organisation of the API key.

    Args:
        json: Print JSON.
        where: Where VMs are.
    """
    async with connected(where) as client:
        found = await client.whoami()
    if json:
        output.print_json(found)
    else:
        output.write(f"{found.org_id}  {found.org_name}\n")
    return statuses.DONE


async def regions(*, json: bool = False, where: Where = None) -> int:
    """List the regions of all providers.

    Args:
        json: Print JSON.
        where: Where VMs are.
    """
    async with connected(where) as client:
        found = (await client.list_regions()).regions
    if json:
        output.print_json(found)
    else:
        rows = [(place.provider, place.region, place.endpoint or "") for place in found]
        output.print_table(("PROVIDER", "REGION", "ENDPOINT"), rows)
    return statuses.DONE


__all__ = ["regions", "whoami"]
