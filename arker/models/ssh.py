"""The keys with which a VM is reachable by SSH (contract-1, section 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._fields import check_key, made
from arker.models._reply import Reply, declared

_LONGEST_NAME: Final = 255


@frozen(kw_only=True)
class SshPublicKey(Reply):
    """A key with which the VM is reachable by SSH.

    Attributes:
        id: Its id in the VM.
        public_key: The public key.
        fingerprint: Its fingerprint.
        name: Its name.
        expires_at: Time from which it is no longer accepted (RFC 3339, UTC).
    """

    id: str
    public_key: str | None = declared()
    fingerprint: str | None = declared()
    name: str | None = None
    expires_at: str | None = None


@frozen(kw_only=True)
class SshKeyInput:
    """A key with which a VM is to be reachable by SSH.

    Attributes:
        public_key: The public key, as in an ``authorized_keys`` file.
        name: A name for it, up to 255 characters.
        expires_at: Time from which it is no longer accepted (RFC 3339).
    """

    public_key: str = field(validator=check.text)
    name: str | None = field(default=None, validator=check.optional(check.name))
    expires_at: str | None = field(default=None, validator=check.optional(check.text))

    def __attrs_post_init__(self) -> None:
        if self.name is not None and len(self.name) > _LONGEST_NAME:
            raise InvalidArgumentError("name", self.name, f"expected at most {_LONGEST_NAME} characters")


SshKeys: TypeAlias = Mapping[str, SshKeyInput | Mapping[str, Any] | None]
"""The ``ssh_public_keys`` argument of `fork` and `update`: keys by their ids; None removes one."""


def ssh_keys(argument: str, value: object) -> dict[str, SshKeyInput | None]:
    """Check a caller's keys."""
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, value, "expected a mapping of ids to keys")
    keys: dict[str, SshKeyInput | None] = {}
    for name, key in value.items():
        where = f"{argument}[{name!r}]"
        what = "an SshKeyInput, or None to remove the key"
        keys[check_key(where, name, key)] = None if key is None else made(SshKeyInput, where, key, what)
    return keys


__all__ = ["SshKeyInput", "SshKeys", "SshPublicKey", "ssh_keys"]
