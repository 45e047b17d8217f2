"""The table of operations by generation is what happens, and holds no bare refusal of the server's."""

from __future__ import annotations

import pytest

from tests.generations.table import (
    BACKENDS,
    OPERATIONS,
    PAGE,
    SETTINGS,
    Place,
    differences,
    find_out,
    parse,
    places,
    render,
)
from tests.support.length import cases

pytestmark = pytest.mark.anyio


def test_the_page_holds_every_cell() -> None:
    page = PAGE.read_text("utf-8")
    cells = parse(page)
    assert set(cells) == set(places())
    assert all(cells.values())
    assert render(cells) == page


def _wanted() -> list[Place]:
    """Return a sample: every second operation once, each of the combinations as often as any other.

    A client of generation 1 on a server of generation 1 does every operation in `test_requests`.
    """
    columns = [(spoken, setting) for spoken in BACKENDS for setting in SETTINGS if (spoken, setting) != ("1", "1")]
    return [(name, *columns[number * 3 % 8]) for number, name in enumerate([*OPERATIONS][::2])]


@pytest.mark.parametrize("spoken", BACKENDS)
async def test_cells(spoken: str) -> None:
    wanted = [place for place in cases(_wanted(), rest=set(places()) - set(_wanted())) if place[1] == spoken]
    assert differences(await find_out(wanted), PAGE.read_text("utf-8")) == []
