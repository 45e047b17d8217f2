"""Queries of lists as values, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import attrs
from attrs import Attribute, Converter, field, frozen

from arker._protocol.request import encode_query
from arker.models import _checks as check

_WIRE: Final = "wire"


def _parameter(convert: Callable[[str, Any], Any], wire: str | None = None) -> Any:
    def converted(value: Any, attribute: Attribute[Any]) -> Any:
        return convert(attribute.name, value)

    converter: Converter[Any, Any] = Converter(converted, takes_field=True)
    return cast("Any", field(default=None, metadata={_WIRE: wire}, converter=converter))


def text() -> Any:
    """Declare a string parameter."""
    return _parameter(check.query_text)


def choice(wire: str | None = None) -> Any:
    """Declare a parameter that is one string or several.

    Args:
        wire: Its name in the query string, if it differs.
    """
    return _parameter(check.query_list, wire)


def integer() -> Any:
    """Declare a parameter that is an integer of at least 0."""
    return _parameter(check.query_integer)


def limit() -> Any:
    """Declare the parameter for the number of items on a page."""
    return _parameter(lambda _, value: check.query_limit(value))


def checked(convert: Callable[[str, Any], Any]) -> Any:
    """Declare a parameter with its own check, which an absent one skips."""
    return _parameter(lambda name, value: None if value is None else convert(name, value))


@frozen(kw_only=True)
class Query:
    """The parameters of a list."""

    def encoded(self) -> str:
        """Encode the query as a query string, without absent parameters."""
        return encode_query(
            {each.metadata[_WIRE] or each.name: getattr(self, each.name) for each in attrs.fields(type(self))}
        )


@frozen(kw_only=True)
class PageQuery(Query):
    """The parameters of every paged list."""

    cursor: str | None = text()
    limit: int | None = limit()


__all__ = ["PageQuery", "Query", "checked", "choice", "integer", "limit", "text"]
