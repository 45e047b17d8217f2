"""A raw HTTP client, which shares nothing with the SDK, and holds each reply against generation 1."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp
import anyio
from attrs import define, field
from yarl import URL

from tests.generations.schemas.check import Wrong, check_reply, find


def _cut(value: object) -> str:
    return repr(value)[:500]


@define
class Answer:
    """A reply that the contract allows."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str | None:
        """The code of an error."""
        return self.body["error"]["code"] if self.status >= 400 else None

    @property
    def details(self) -> Any:
        """The details of an error."""
        return self.body["error"].get("details")


@define
class Wire:
    """A backend as one organisation sees it.

    Attributes:
        closed: Whether replies may have only the members that the contract knows.
        seen: How often each operation was answered, and how: by a status, or an error's code.
    """

    session: aiohttp.ClientSession
    url: str
    key: str
    closed: bool = True
    seen: Counter[tuple[str | None, int | str | None]] = field(factory=Counter[Any])

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request. A header that is empty is left out."""
        fields = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        data = None
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
            # As bytes, aiohttp would warn of a large one.
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.session.request(
            method,
            URL(self.url + path, encoded=True),
            data=data,
            headers={name: value for name, value in fields.items() if value},
            allow_redirects=False,
        ) as response:
            content = await response.read()
        try:
            check_reply(method, path, response.status, response.headers, content, closed=self.closed)
        except Wrong as error:
            raise Wrong(f"{error} (asked for {path} {_cut(body)})") from None
        operation = find(method, path.partition("?")[0])
        answer = Answer(response.status, response.headers, json.loads(content) if content else None)
        self.seen[None if operation is None else operation.name, answer.code or answer.status] += 1
        return answer

    async def get(self, method: str, path: str, body: Any = None, *, status: int = 200, key: str = "") -> Any:
        """Send a request that succeeds, and return the body of its reply."""
        answer = await self.ask(method, path, body, headers={"Idempotency-Key": key})
        if answer.status != status:
            raise Wrong(f"{method} {path} {_cut(body)}: {answer.status} {_cut(answer.body)}")
        return answer.body

    async def refused(self, code: str, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """Send a request that is refused, and return the details of the error."""
        answer = await self.ask(method, path, body, headers={"Idempotency-Key": key})
        if answer.code != code:
            raise Wrong(f"{method} {path} {_cut(body)}: not {code}: {answer.status} {_cut(answer.body)}")
        return answer.details

    async def fork(self, **fields: Any) -> str:
        """Fork a VM and return its id."""
        body = {"source_vm_id": "ubuntu", **fields}
        return str((await self.get("POST", "/v1/fork", body))["vm_id"])

    async def ended(self, vm: str, run_id: str) -> Any:
        """Return the run once it has ended."""
        with anyio.fail_after(30):
            while True:
                run = await self.get("GET", f"{vm}/runs/{run_id}")
                if run["state"] not in {"pending", "running"}:
                    return run
                await anyio.sleep(0.02)


__all__ = ["Answer", "Wire"]
