"""The limit: the same requests by hand, with aiohttp's best settings and none of a library's duties.

It has no retries, checks, models or errors: only the cost of the HTTP client itself is left.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import aiohttp
import orjson
import pybase64
from multidict import CIMultiDict
from yarl import URL

from benchmarks.measure import Row, Spending, interleave_async
from benchmarks.server import API_KEY

if TYPE_CHECKING:
    from typing_extensions import Self

SLICE: Final = 1024 * 1024


class Limit:
    """A session with the best settings, and the calls that rows share."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._fork_url = URL(f"{base_url}/v1/fork", encoded=True)
        self._bare_headers = CIMultiDict(
            {
                "Authorization": f"Bearer {API_KEY}",
                "User-Agent": f"by-hand python/{platform.python_version()} aiohttp/{aiohttp.__version__}",
                "Accept": "application/json",
            }
        )
        self._headers = CIMultiDict(self._bare_headers, **{"Content-Type": "application/json"})
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=512, limit_per_host=0, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    def vm_url(self, vm_id: str, below: str = "") -> URL:
        """Return a URL under a VM. A row that calls it often makes it once."""
        return URL(f"{self._base_url}/v1/vms/{vm_id}{below}", encoded=True)

    async def post(self, url: URL, value: object) -> Any:
        """POST a JSON value with an idempotency key, and return the answer's."""
        headers = CIMultiDict(self._headers)
        headers["Idempotency-Key"] = secrets.token_hex(16)
        async with self._session.post(
            url, data=orjson.dumps(value), headers=headers, allow_redirects=False
        ) as response:
            return orjson.loads(await response.read())

    async def post_slices(self, url: URL, body: bytes) -> Any:
        """POST a large JSON text in slices, which spares aiohttp a copy of it."""
        headers = CIMultiDict(self._headers)
        headers["Content-Length"] = str(len(body))
        async with self._session.post(url, data=_slices(body), headers=headers, allow_redirects=False) as response:
            return orjson.loads(await response.read())

    async def read(self, url: URL, path: str) -> bytes:
        """Read a file that comes inline in base64, by the URL of a VM's files."""
        answer = await self.post(url, {"op": "read", "path": path})
        return pybase64.b64decode(answer["content"], validate=True)

    async def run(self, url: URL, command: str) -> tuple[bytes, bytes, int]:
        """Run a command in the foreground, by the URL of a VM's runs."""
        answer = await self.post(url, {"command": command})
        return answer["stdout"].encode(), answer["stderr"].encode(), answer["exit_code"]

    async def fork(self, name: str) -> str:
        """Fork a VM, and return its id."""
        source = {"source_vm_name": name, "source_org_id": "ArkerHQ"}
        vm_id: str = (await self.post(self._fork_url, source))["vm_id"]
        return vm_id

    async def delete(self, url: URL) -> bool:
        """Delete a VM by its URL."""
        async with self._session.delete(url, headers=self._bare_headers, allow_redirects=False) as response:
            deleted: bool = orjson.loads(await response.read())["deleted"]
            return deleted


async def _slices(body: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(body)
    for start in range(0, len(view), SLICE):
        yield view[start : start + SLICE]


async def settle() -> None:
    """Wait until the sockets of a closed session are gone, before the next sample begins."""
    await asyncio.sleep(0.01)


async def spending(
    name: str,
    title: str,
    by_hand: Callable[[], Awaitable[object]],
    ours: Callable[[], Awaitable[object]],
    *,
    rounds: int,
) -> list[Row]:
    """Return the rows for the wall and the CPU time of two ways to do the same work, each with sessions of its own."""
    spent = Spending()

    async def settled(which: Literal["limit", "ours"], work: Awaitable[object]) -> float:
        taken = await spent.of(which, work)
        await settle()
        return taken

    await interleave_async(lambda: settled("limit", by_hand()), lambda: settled("ours", ours()), rounds=rounds)
    return spent.rows(name, title)
