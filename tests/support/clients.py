"""Clients of the scripted server."""

from __future__ import annotations

from typing import Any, Final

from arker import AsyncArker, RetryPolicy
from tests.support.secrets import API_KEY
from tests.support.server import ScriptedServer

QUICK: Final = RetryPolicy(base_delay=0.001, max_delay=0.002, jitter=0.0)
"""The default number of attempts, with next to no time between them."""

COMPUTE, BURST, CONTROL = "/compute/api", "/burst/api", "/control/api"
"""What the three base URLs' paths start with, so that a request shows which one it was sent to."""

BURST_ID: Final = "01HZX3K5M7N9P1Q3R5S7T9V1W3_b1"


def make_client(server: ScriptedServer, **options: Any) -> AsyncArker:
    """Return a client of a server whose script is of generation 0.5, unless the options say otherwise."""
    settings: dict[str, Any] = {
        "api_key": API_KEY,
        "base_url": server.url + COMPUTE,
        "burst_base_url": server.url + BURST,
        "control_base_url": server.url + CONTROL,
        "retry": QUICK,
        "generation": "0.5",
        "overlap_sessions": 0,  # a script foresees each request, and no looks at sessions
        **options,
    }
    return AsyncArker(**settings)
