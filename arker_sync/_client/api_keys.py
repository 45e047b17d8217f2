# Generated from arker/_client/api_keys.py by "nox -s facade": change that file, not this one.
"""API keys of the organisation. A part of `Arker`."""

from __future__ import annotations

from arker import models
from arker_sync._client.base import ClientBase


class ApiKeys(ClientBase):
    """The methods of `Arker` on API keys. No region has to be set for them."""

    def list_api_keys(self, *, deadline: float | None = None) -> models.ListApiKeysResponse:
        """List all API keys of the organisation, without the keys themselves.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: The organisation's keys cannot be managed here.
            UnsupportedOperationError: The server speaks generation 0.5 of the API.
        """
        work = self._async.list_api_keys(deadline=deadline)
        return self._lease.call(work)

    def create_api_key(
        self,
        *,
        name: str | None = None,
        scopes: models.ApiKeyScopes | None = None,
        deadline: float | None = None,
    ) -> models.CreatedApiKey:
        """Create an API key with the role of this client's key. Only this reply has the new key: ``created.key``.

            created = ar.create_api_key(name="ci", scopes=[{"vm_id": vm.id}])

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
        work = self._async.create_api_key(name=name, scopes=scopes, deadline=deadline)
        return self._lease.call(work)

    def revoke_api_key(self, api_key_id: str, *, deadline: float | None = None) -> models.RevokeApiKeyResponse:
        """Cancel an API key permanently: no request is accepted with it any more.

        Args:
            api_key_id: The key's id, not the key itself.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such key (any more).
        """
        work = self._async.revoke_api_key(api_key_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["ApiKeys"]
