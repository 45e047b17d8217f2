"""Images: the credentials for the registry that an image is pulled from (contract-1, section 6)."""

from __future__ import annotations

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._fields import HIDDEN, made


@frozen(kw_only=True)
class RegistryAuth:
    """The credentials for an image's registry. The service does not store them, and nothing here writes them down.

    Attributes:
        username: The user's name.
        password: The password, or a token. A secret, so it is not in the repr.
    """

    username: str = field(validator=check.text)
    password: str = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if not check.is_string(self.password) or not self.password:
            raise InvalidArgumentError("password", HIDDEN, "expected a non-empty string without NUL")


def registry_auth(argument: str, value: object) -> RegistryAuth:
    """Check a caller's credentials. A mapping is converted."""
    return made(RegistryAuth, argument, value, "a RegistryAuth", secret=True)


__all__ = ["RegistryAuth", "registry_auth"]
