"""The base of the models of replies: declared fields, and values that do not fit their fields."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from arker._basics.guidance import instead

# Annotations are evaluated here, not postponed: as strings, those of inherited fields would be looked up in the
# modules of the subclasses.

DECLARED: Final = "declared"
"""Key in a field's metadata: the contract says that the field is always present, so strict replies require it."""


class _NoMisfits(Mapping[str, object]):
    """An empty mapping that all models share. Nearly all replies fit, and a mapping for each model would take time."""

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
        misfits: Values from the server, by field, that do not have the field's type; the field then has its default.
    """

    if not TYPE_CHECKING:
        __getattr__ = instead

    misfits: Mapping[str, object] = field(default=NO_MISFITS, repr=False, eq=False)


NULLABLE: Final = "nullable"
"""Key in a field's metadata: although the field is always present, its value may be null."""


def declared(default: Any = None, *, nullable: bool = False, **options: Any) -> Any:
    """Declare a field that the contract says is always present, although the SDK does not depend on it."""
    return field(default=default, metadata={DECLARED: True, NULLABLE: nullable}, **options)


__all__ = ["DECLARED", "NO_MISFITS", "NULLABLE", "Reply", "declared"]
