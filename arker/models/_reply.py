"""What the models of replies have in common: fields that the service declares, and what did not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

DECLARED: Final = "declared"
"""Name in a field's metadata: the contract says that it is always there, so that strict replies demand it."""


@frozen(kw_only=True)
class Reply:
    """A model of a reply.

    Attributes:
        misfits: Values as the server sent them, by field, that are not of the field's type; the field has its default.
    """

    misfits: Mapping[str, object] = field(factory=dict[str, object], repr=False, eq=False)


def declared(default: Any = None, **options: Any) -> Any:
    """Declare a field that the contract says is always there, although nothing depends on it."""
    return field(default=default, metadata={DECLARED: True}, **options)


__all__ = ["DECLARED", "Reply", "declared"]
