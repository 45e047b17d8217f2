"""API keys of the organisation (contract-1, section 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._fields import converted, made
from arker.models._page import Page
from arker.models._reply import Reply, declared

ApiKeyRole: TypeAlias = Literal["admin", "developer", "member", "viewer"]
_MOST_VMS: Final = 16
_LONGEST_NAME: Final = 255


@frozen(kw_only=True)
class ApiKeyScope(Reply):
    """What a key is limited to: one VM, or one pool.

    Attributes:
        vm_id: The VM's id.
        pool_id: The pool's id.
    """

    vm_id: str | None = None
    pool_id: str | None = None


@frozen(kw_only=True)
class ApiKey(Reply):
    """An API key. The key itself is not here: only the reply to its creation has it.

    Attributes:
        api_key_id: The key's id, which begins with its name.
        scopes: What it is limited to; empty if it is not limited.
        created_at: Time of its creation (RFC 3339, UTC).
        role: The role of the key's creator (deprecated by the service).
        vm_id: The VM that it is limited to (deprecated by the service; see ``scopes``).
        pool_id: The pool that it is limited to (deprecated by the service; see ``scopes``).
    """

    api_key_id: str
    scopes: tuple[ApiKeyScope, ...] = declared(())
    created_at: str | None = declared()
    role: ApiKeyRole | str | None = declared()
    vm_id: str | None = declared(nullable=True)
    pool_id: str | None = declared(nullable=True)


@frozen(kw_only=True)
class CreatedApiKey(ApiKey):
    """A new API key.

    Attributes:
        key: The key itself, which is shown only once. A secret, so it is not in the repr.
    """

    key: str = field(repr=False)


@frozen(kw_only=True)
class ListApiKeysResponse(Page[ApiKey], Reply):
    """All API keys of the organisation. There is only one page."""

    api_keys: tuple[ApiKey, ...]

    def _items(self) -> tuple[ApiKey, ...]:
        return self.api_keys


@frozen(kw_only=True)
class RevokeApiKeyResponse(Reply):
    """The reply to the revocation of an API key."""

    revoked: bool = declared(True)


def _name(argument: str, value: object) -> str:
    name = check.check_text(argument, value, what="a non-empty name")
    if len(name) > _LONGEST_NAME:
        raise InvalidArgumentError(argument, value, f"expected at most {_LONGEST_NAME} characters")
    return name


ApiKeyScopes: TypeAlias = Sequence[ApiKeyScope | Mapping[str, str]]
"""The ``scopes`` argument of `create_api_key`: scopes, or mappings with their fields."""


def _scopes(value: ApiKeyScopes | None) -> tuple[ApiKeyScope, ...] | None:
    argument = "scopes"
    if value is None:
        return None
    if not check.is_array(value):
        raise InvalidArgumentError(argument, value, "expected a list of scopes")
    scopes = tuple(made(ApiKeyScope, f"{argument}[{index}]", each, "a scope") for index, each in enumerate(value))
    for index, scope in enumerate(scopes):
        if (scope.vm_id is None) == (scope.pool_id is None):
            raise InvalidArgumentError(f"{argument}[{index}]", scope, "expected either vm_id or pool_id")
        name = "pool_id" if scope.vm_id is None else "vm_id"
        check.check_id(f"{argument}[{index}][{name!r}]", getattr(scope, name))
    pools = sum(scope.pool_id is not None for scope in scopes)
    if len(scopes) > _MOST_VMS or (pools and len(scopes) > 1):
        raise InvalidArgumentError(argument, value, f"expected up to {_MOST_VMS} VMs, or one pool")
    return scopes


@frozen(kw_only=True)
class CreateApiKeyRequest:
    """The request of `POST /v1/api-keys`.

    Attributes:
        name: What the key's id begins with, up to 255 characters, of which the server takes 13.
        scopes: What it is limited to: up to 16 VMs, or one pool; none for all.
    """

    name: str | None = converted(_name)
    scopes: tuple[ApiKeyScope, ...] | None = field(default=None, converter=_scopes)


__all__ = [
    "ApiKey", "ApiKeyRole", "ApiKeyScope", "ApiKeyScopes", "CreateApiKeyRequest", "CreatedApiKey",
    "ListApiKeysResponse", "RevokeApiKeyResponse",
]  # fmt: skip
