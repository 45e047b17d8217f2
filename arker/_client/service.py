"""The service: its regions, and the organisation of the key. A part of `AsyncArker`."""

from __future__ import annotations

from arker import models
from arker._client.base import ClientBase
from arker._protocol import calls


class Service(ClientBase):
    """The service methods of `AsyncArker`."""

    async def list_regions(self, *, deadline: float | None = None) -> models.ListRegionsResponse:
        """List the regions of all providers. No region has to be set for it.

            for place in await ar.list_regions():
                print(place.provider, place.region, place.endpoint)

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            UnsupportedOperationError: The server speaks generation 0.5 of the API.
        """
        call = calls.service.list_regions(self._context.settings.control_base_url)
        return await self._context.send(call, deadline=deadline)

    async def whoami(self, *, deadline: float | None = None) -> models.WhoamiResponse:
        """Return the organisation that the API key belongs to. No region has to be set for it.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            UnauthorizedError: The key is not valid.
            UnsupportedOperationError: The server speaks generation 0.5 of the API.
        """
        call = calls.service.whoami(self._context.settings.control_base_url)
        return await self._context.send(call, deadline=deadline)


__all__ = ["Service"]
