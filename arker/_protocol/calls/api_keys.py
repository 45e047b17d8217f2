"""Calls on the organisation's API keys (contract-1, section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from arker import models
from arker._protocol import routes
from arker._protocol.calls.shared import create, get
from arker._protocol.request import Call, Lack, Request

if TYPE_CHECKING:
    from arker._protocol.reader import Reader
    from arker.models import CreateApiKeyRequest, CreatedApiKey, ListApiKeysResponse, RevokeApiKeyResponse

_LACK: Final = Lack("0.5", "operations on API keys", "manage the keys on the service's own pages")


def list_api_keys(control_base_url: str) -> Call[ListApiKeysResponse]:
    call = get("list_api_keys", control_base_url, routes.API_KEYS, models.ListApiKeysResponse, ("api_keys",))
    return evolve(call, lack=_LACK)


def create_api_key(control_base_url: str, request: CreateApiKeyRequest) -> Call[CreatedApiKey]:
    evidence = ("api_key_id",)
    call = create("create_api_key", control_base_url, routes.API_KEYS, request, models.CreatedApiKey, evidence)
    # The service takes keys of repeated requests with forks and runs only.
    return evolve(call, request=evolve(call.request, idempotency_key=None), lack=_LACK)


def revoke_api_key(control_base_url: str, api_key_id: str) -> Call[RevokeApiKeyResponse]:
    return Call(
        "revoke_api_key",
        Request("DELETE", control_base_url, routes.api_key(api_key_id)),
        _revoked,
        gone=models.RevokeApiKeyResponse(),
        evidence=("revoked",),
        acknowledged=True,
        lack=_LACK,
    )


def _revoked(payload: dict[str, Any], reader: Reader) -> RevokeApiKeyResponse:
    # The reply has no body.
    return models.RevokeApiKeyResponse()


__all__ = ["create_api_key", "list_api_keys", "revoke_api_key"]
