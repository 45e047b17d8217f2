"""A raw HTTP client for the server, which shares nothing with the SDK; it holds each reply against the document."""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio
from attrs import frozen
from yarl import URL

from arker.emulator.options import GenerationName, Isolation
from tests.emulator.server.conformance import conform
from tests.support.waiting import PATIENCE

ISOLATION: Isolation = "auto"
OTHER_ORG = "org_other"
OTHER_KEY = "other-organisation-key"
ULID_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@frozen
class Reply:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """The error code; an error body has one member, with a code and a message."""
        body = self.json
        if "code" in body:  # generation 0.5
            assert set(body) == {"code", "message"}, body
            return str(body["code"])
        assert set(body) == {"error"}, body
        assert body["error"]["request_id"] == self.headers["x-request-id"]
        assert self.message
        return str(body["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def details(self) -> Any:
        return self.json["error"].get("details")

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.code


def new_ulid() -> str:
    return "0" + "".join(secrets.choice(ULID_ALPHABET) for _ in range(25))


def output(body: Mapping[str, Any], name: str = "stdout") -> bytes:
    """Return the bytes of an output (or of a file's ``content``), decoded by its encoding."""
    encoding = body["encoding" if name == "content" else f"{name}_encoding"]
    text: str = body[name]
    assert encoding in {"utf-8", "utf8", "base64"}
    return base64.b64decode(text, validate=True) if encoding == "base64" else text.encode()


class Api:
    """One organisation's view of the server."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, generation: GenerationName = "both") -> None:
        self.session = session
        self.url = url
        self.key = key
        self.generation: GenerationName = generation

    async def raw(self, method: str, url: str, *, data: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request to an absolute URL as it is, without a token."""
        if isinstance(data, bytes):
            data = io.BytesIO(data)  # aiohttp warns of large bytes
        async with self.session.request(
            method, URL(url, encoded=True), data=data, headers=headers, allow_redirects=False
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        fields = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        if idempotency_key is not None:
            fields["Idempotency-Key"] = idempotency_key
        data = None
        if body is not None:
            fields["Content-Type"] = "application/json"
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = await self.raw(method, self.url + path, data=data, headers=fields)
        conform(method, path, reply.status, reply.content, self.generation)
        return reply

    async def get(self, path: str) -> Any:
        reply = await self.call("GET", path)
        assert reply.status == 200, reply
        return reply.json

    async def fork(self, source: str = "ubuntu", **fields: Any) -> dict[str, Any]:
        """Fork a golden or a VM by its name."""
        body = {"source_vm_name": source, "disk": True, **fields}
        if "source_vm_id" in fields:
            del body["source_vm_name"]
        reply = await self.call("POST", "/v1/fork", body)
        assert reply.status == 200, reply
        return dict(reply.json)

    async def run(self, vm_id: str, command: str, **fields: Any) -> dict[str, Any]:
        reply = await self.call("POST", f"/v1/vms/{vm_id}/runs", {"command": command, **fields})
        assert reply.status in {200, 202}, reply
        return dict(reply.json)

    async def background(self, vm_id: str, command: str, **fields: Any) -> str:
        body = await self.run(vm_id, command, background=True, **fields)
        assert "stdout" not in body
        return str(body["run_id"])

    async def get_run(self, vm_id: str, run_id: str) -> dict[str, Any]:
        return dict(await self.get(f"/v1/vms/{vm_id}/runs/{run_id}"))

    async def ended(self, vm_id: str, run_id: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Return the run once it has ended."""
        with anyio.fail_after(patience):
            while True:
                run = await self.get_run(vm_id, run_id)
                if run["state"] not in {"pending", "running"}:
                    return run
                await anyio.sleep(0.01)

    async def printed(self, vm_id: str, run_id: str, text: str) -> dict[str, Any]:
        """Return the run once its output contains the text."""
        with anyio.fail_after(PATIENCE):
            while True:
                run = await self.get_run(vm_id, run_id)
                if text.encode() in output(run):
                    return run
                await anyio.sleep(0.01)

    async def delete(self, vm_id: str) -> None:
        reply = await self.call("DELETE", f"/v1/vms/{vm_id}")
        assert reply.json == {"deleted": True}, reply

    async def sync(self, vm_id: str, body: Any) -> Reply:
        return await self.call("POST", f"/v1/vms/{vm_id}/sync", body)

    async def read(self, vm_id: str, path: str) -> Any:
        reply = await self.sync(vm_id, {"op": "read", "path": path})
        assert reply.status == 200, reply
        return reply.json

    async def write(self, vm_id: str, *entries: Any) -> list[dict[str, Any]]:
        reply = await self.sync(vm_id, {"op": "write", "writes": list(entries)})
        assert reply.status == 200, reply
        results: list[dict[str, Any]] = reply.json["results"]
        assert len(results) == len(entries)
        return results

    async def list_all(self, path: str, member: str, **query: str) -> list[dict[str, Any]]:
        """Return every item, page by page."""
        items: list[dict[str, Any]] = []
        while True:
            text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
            page = await self.get(f"{path}?{text}")
            items += page[member]
            if page.get("next_cursor") is None:
                return items
            query["cursor"] = page["next_cursor"]


def chunk(path: str, data: bytes, **fields: Any) -> dict[str, Any]:
    """Return a chunk entry for a whole file, unless the fields say otherwise."""
    start = fields.get("start", 0)
    return {
        "path": path,
        "size": len(data),
        "upload_id": new_ulid(),
        "content": base64.b64encode(data).decode(),
        "start": start,
        "end": start + len(data),
        **fields,
    }


async def control(api: Api, method: str, path: str, body: Any = None) -> Reply:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {api.key}"}
    return await api.raw(method, f"{api.url}/emulator/{path}", data=data, headers=headers)
