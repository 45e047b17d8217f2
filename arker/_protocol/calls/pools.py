"""Calls on pools (contract-1, section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, frozen

from arker import models
from arker._protocol import routes
from arker._protocol.calls.shared import create, get, into
from arker._protocol.codec import codec
from arker._protocol.queries import PageQuery
from arker._protocol.request import Call, Lack, Request

if TYPE_CHECKING:
    from arker.models import (
        CreatePoolRequest,
        ListPoolsResponse,
        ListPoolWorkersResponse,
        Pool,
        UpdatePoolRequest,
    )

T = TypeVar("T")


@frozen(kw_only=True)
class PoolsQuery(PageQuery):
    """The query of pools."""


_LACK: Final = Lack("0.5", "pools", "fork without a pool: the service chooses where the VM runs")
_POOL: Final = ("pool_id",)


def list_pools(control_base_url: str, query: PoolsQuery) -> Call[ListPoolsResponse]:
    call = get("list_pools", control_base_url, routes.POOLS, models.ListPoolsResponse, ("pools",), query)
    return evolve(call, lack=_LACK)


def create_pool(base_url: str, request: CreatePoolRequest) -> Call[Pool]:
    call = create("create_pool", base_url, routes.POOLS, request.complete(), models.Pool, _POOL)
    # The service takes keys with forks and runs only.
    return evolve(call, request=evolve(call.request, idempotency_key=None), lack=_LACK)


def get_pool(base_url: str, pool_id: str) -> Call[Pool]:
    return evolve(get("get_pool", base_url, routes.pool(pool_id), models.Pool, _POOL), lack=_LACK)


def update_pool(base_url: str, pool_id: str, request: UpdatePoolRequest) -> Call[Pool]:
    body: dict[str, Any] = codec.unstructure(request)
    if request.name == "":
        body["name"] = None  # removes it
    changed = Request("PATCH", base_url, routes.pool(pool_id), body=codec.dumps_plain(body))
    return Call("update_pool", changed, into(models.Pool), evidence=_POOL, lack=_LACK)


def delete_pool(base_url: str, pool_id: str) -> Call[Pool]:
    request = Request("DELETE", base_url, routes.pool(pool_id))
    return Call("delete_pool", request, into(models.Pool), evidence=_POOL, lack=_LACK)


def list_pool_workers(base_url: str, pool_id: str) -> Call[ListPoolWorkersResponse]:
    path = routes.workers(pool_id)
    call = get("list_pool_workers", base_url, path, models.ListPoolWorkersResponse, ("workers",))
    return evolve(call, lack=_LACK)


__all__ = [
    "PoolsQuery",
    "create_pool",
    "delete_pool",
    "get_pool",
    "list_pool_workers",
    "list_pools",
    "update_pool",
]
