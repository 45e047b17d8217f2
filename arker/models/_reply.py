"""What the models of replies have in common: fields that the service declares, and what did not fit."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen

# Annotations are evaluated here, not postponed: as texts, those of fields that are inherited would be looked up in the
# modules of the heirs.

DECLARED: Final = "declared"
"""Name in a field's metadata: the contract says that it is always there, so that strict replies demand it."""


class _NoMisfits(Mapping[str, object]):
    """An empty mapping that all models share: nearly all replies fit, and one for each of thousands takes its time."""

    __slots__ = ()

    def __getitem__(self, name: str) -> object:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "NO_MISFITS"


NO_MISFITS: Final = _NoMisfits()


@frozen(kw_only=True)
class Reply:
    """A model of a reply.

    Attributes:
        misfits: Values as the server sent them, by field, that are not of the field's type; the field has its default.
    """

    misfits: Mapping[str, object] = field(default=NO_MISFITS, repr=False, eq=False)


def declared(default: Any = None, **options: Any) -> Any:
    """Declare a field that the contract says is always there, although nothing depends on it."""
    return field(default=default, metadata={DECLARED: True}, **options)


__all__ = ["DECLARED", "NO_MISFITS", "Reply", "declared"]
