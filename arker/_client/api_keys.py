"""API keys of the organisation. A part of `AsyncArker`."""

from __future__ import annotations

from arker import models
from arker._client.base import ClientBase
from arker._protocol import calls
from arker.models import _checks as check


class ApiKeys(ClientBase):
    """The methods of `AsyncArker` on API keys. No region has to be set for them."""

    async def list_api_keys(self, *, deadline: float | None = None) -> models.ListApiKeysResponse:
        """List all API keys of the organisation, without the keys themselves.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: The organisation's keys cannot be managed here.
            UnsupportedOperationError: The server speaks generation 0.5 of the API.
        """
        call = calls.api_keys.list_api_keys(self._context.settings.control_base_url)
        return await self._context.send(call, deadline=deadline)

    async def create_api_key(
        self,
        *,
        name: str | None = None,
        scopes: models.ApiKeyScopes | None = None,
        deadline: float | None = None,
    ) -> models.CreatedApiKey:
        """Create an API key with the role of this client's key. Only this reply has the new key: ``created.key``.

            created = await ar.create_api_key(name="ci", scopes=[{"vm_id": vm.id}])

        Args:
            name: What the key's id begins with, up to 255 characters, of which the server takes 13.
            scopes: What the key is limited to: up to 16 VMs (``{"vm_id": …}``), or one pool (``{"pool_id": …}``); None
                for all that the role allows.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            InvalidArgumentError: A value is invalid.
            NetworkError: With ``outcome="unknown"`` the key may exist; the request is not repeated.
            NotFoundError: There is no such VM or pool.
        """
        request = models.CreateApiKeyRequest(name=name, scopes=scopes)
        call = calls.api_keys.create_api_key(self._context.settings.control_base_url, request)
        return await self._context.send(call, deadline=deadline)

    async def revoke_api_key(self, api_key_id: str, *, deadline: float | None = None) -> models.RevokeApiKeyResponse:
        """Cancel an API key permanently: no request is accepted with it any more.

        Args:
            api_key_id: The key's id, not the key itself.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such key (any more).
        """
        identifier = check.check_id("api_key_id", api_key_id)
        call = calls.api_keys.revoke_api_key(self._context.settings.control_base_url, identifier)
        return await self._context.send(call, deadline=deadline)


__all__ = ["ApiKeys"]
