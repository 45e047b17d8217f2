# Generated from arker/_client/service.py by "nox -s facade": change that file, not this one.
"""The service: its regions, and the organisation of the key. A part of `Arker`."""

from __future__ import annotations

from arker import models
from arker_sync._client.base import ClientBase


class Service(ClientBase):
    """The service methods of `Arker`."""

    def list_regions(self, *, deadline: float | None = None) -> models.ListRegionsResponse:
        """List the regions of all providers. No region has to be set for it.

            for place in ar.list_regions():
                print(place.provider, place.region, place.endpoint)

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            UnsupportedOperationError: The server speaks generation 0.5 of the API.
        """
        work = self._async.list_regions(deadline=deadline)
        return self._lease.call(work)

    def whoami(self, *, deadline: float | None = None) -> models.WhoamiResponse:
        """Return the organisation that the API key belongs to. No region has to be set for it.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            UnauthorizedError: The key is not valid.
            UnsupportedOperationError: The server speaks generation 0.5 of the API.
        """
        work = self._async.whoami(deadline=deadline)
        return self._lease.call(work)


__all__ = ["Service"]
