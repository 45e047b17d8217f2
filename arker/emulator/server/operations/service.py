"""The operations on the service itself: health, regions, and whose key it is (generation 1)."""

from __future__ import annotations

import orjson
from aiohttp import web

from arker.emulator.control.clock import rfc3339
from arker.emulator.server.backend import Backend
from arker.emulator.server.goldens import PLATFORMS
from arker.emulator.server.records import Organisation
from arker.emulator.server.replies import json_response


async def health(backend: Backend, request: web.Request) -> web.StreamResponse:
    now = rfc3339(backend.clock.now_ms())
    if backend.closing:
        body = orjson.dumps({"status": "unavailable", "timestamp": now})
        return web.Response(body=body, status=503, content_type="application/json")
    return json_response({"status": "ok", "timestamp": now})


async def list_regions(backend: Backend, request: web.Request) -> web.StreamResponse:
    region = {
        "provider": "aws",
        "region": backend.options.region,
        "endpoint": f"{backend.origin}/api",
        "platforms": list(PLATFORMS),
    }
    return json_response({"regions": [region]})


async def whoami(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    return json_response({"org_id": org.org_id, "org_name": org.org_id})


__all__ = ["health", "list_regions", "whoami"]
