"""A scripted cloud, and a client of it."""

from __future__ import annotations

import pytest

from tests.support.cloud import Cloud
from tests.support.server import ScriptedServer


@pytest.fixture
def cloud(server: ScriptedServer) -> Cloud:
    return Cloud(server)
