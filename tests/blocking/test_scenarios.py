"""The same programs through both clients, on the embedded backend: they observe the same."""

from __future__ import annotations

import re

import pytest

from arker import AsyncArker
from arker.emulator import Emulator
from arker_sync import Arker
from tests.blocking.scenarios import SCENARIOS, Scenario
from tests.blocking.turned import as_async

pytestmark = pytest.mark.anyio


def without_ids(text: str) -> str:
    """Replace identifiers by numbers, in the order in which they appear."""
    known: dict[str, str] = {}
    text = re.sub(r"\breq_\w+", "<request>", text)
    return re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", lambda match: known.setdefault(match[0], f"<{len(known)}>"), text)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_both_clients_observe_the_same(emulator: Emulator, scenario: Scenario) -> None:
    observed: list[str] = []
    for kind in ("async", "blocking"):
        emulator.reset()
        if kind == "async":
            async with AsyncArker(**emulator.client_options) as client:
                observed.append(without_ids(repr(await scenario(client))))
        else:
            with Arker(**emulator.client_options) as blocking:
                observed.append(without_ids(repr(await scenario(as_async(blocking)))))
    assert observed[0] == observed[1]
    assert len(observed[0]) > 20
