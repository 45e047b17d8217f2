"""The service: its regions, and the organisation that a key belongs to."""

from __future__ import annotations

from attrs import frozen

from arker.models._page import Page
from arker.models._reply import Reply, declared


@frozen(kw_only=True)
class RegionPlacement(Reply):
    """A region of a provider.

    Attributes:
        provider: The provider, such as ``aws``.
        region: The region, such as ``us-west-2``.
        endpoint: The base URL of its VMs: ``base_url`` of a client.
        platforms: The platforms that VMs can run on there.
    """

    provider: str
    region: str
    endpoint: str | None = declared()
    platforms: tuple[str, ...] = declared(())


@frozen(kw_only=True)
class ListRegionsResponse(Page[RegionPlacement], Reply):
    """All regions, sorted by provider and region. There is only one page."""

    regions: tuple[RegionPlacement, ...]

    def _items(self) -> tuple[RegionPlacement, ...]:
        return self.regions


@frozen(kw_only=True)
class WhoamiResponse(Reply):
    """The organisation that the API key belongs to.

    Attributes:
        org_id: The organisation's id.
        org_name: Its name.
    """

    org_id: str
    org_name: str | None = declared()


__all__ = ["ListRegionsResponse", "RegionPlacement", "WhoamiResponse"]
