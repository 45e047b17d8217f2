"""Calls on the service itself: its health, its regions, and the organisation of the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from arker import models
from arker._protocol import routes
from arker._protocol.calls.shared import get
from arker._protocol.reply import generation_of
from arker._protocol.request import Call, Generation, Lack, Request

if TYPE_CHECKING:
    from arker._protocol.reader import Reader
    from arker.models import ListRegionsResponse, WhoamiResponse


def generation(base_url: str) -> Call[Generation | None]:
    """Ask for the server's health, which tells its generation."""
    return Call(
        "health",
        Request("GET", base_url, routes.HEALTH, anonymous=True),
        _unused,
        read_any=generation_of,
    )


def _unused(payload: dict[str, Any], reader: Reader) -> None:
    """Stand for the decoder of a call that reads any response."""


_NO_REGIONS: Final = Lack("0.5", "lists of regions", "set the region that the account was told of")
_NO_NAME: Final = Lack("0.5", "whoami", "owner_org_id of a VM of the organisation is the organisation's id")


def list_regions(control_base_url: str) -> Call[ListRegionsResponse]:
    call = get("list_regions", control_base_url, routes.REGIONS, models.ListRegionsResponse, ("regions",))
    return evolve(call, lack=_NO_REGIONS)


def whoami(control_base_url: str) -> Call[WhoamiResponse]:
    call = get("whoami", control_base_url, routes.WHOAMI, models.WhoamiResponse, ("org_id",))
    return evolve(call, lack=_NO_NAME)


__all__ = ["generation", "list_regions", "whoami"]
