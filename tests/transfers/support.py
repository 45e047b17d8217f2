"""A server of files for transfers: the API's `/sync` and its object store, in one script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from attrs import define, field

from tests.support.clients import COMPUTE
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok

SYNC = f"{COMPUTE}/v1/vms/vm-1/sync"


@define
class Store:
    """Answers like a server that has files, and does nothing else right but that.

    Attributes:
        server: Where it answers.
        files: What there is, by path.
        presigned: Whether it knows presigned URLs.
        ranged: Whether it knows ranges.
        tag: What it calls a version of a file; None for nothing.
        disturb: Asked first for each request; what it gives is the answer.
        urls: How many URLs it has given.
    """

    server: ScriptedServer
    files: dict[str, bytes] = field(factory=dict[str, bytes])
    presigned: bool = True
    ranged: bool = True
    tag: Callable[[bytes], str] | None = field(default=lambda data: f'"{hashlib.sha256(data).hexdigest()[:8]}"')
    disturb: Callable[[Recorded], Reply | None] | None = None
    urls: int = 0
    _puts: dict[str, bytes] = field(factory=dict[str, bytes])
    _paths: dict[str, str] = field(factory=dict[str, str])
    chunks: dict[str, dict[int, bytes]] = field(factory=dict[str, dict[int, bytes]])

    def __attrs_post_init__(self) -> None:
        self.server.answer(self.answer)

    def answer(self, request: Recorded) -> Reply:
        disturbed = self.disturb(request) if self.disturb is not None else None
        if disturbed is not None:
            return disturbed
        if request.method == "PUT":
            self._puts[request.path.rpartition("/")[2]] = request.body
            return ok()
        if request.method == "GET":
            return self._get(request)
        body = request.json
        if "op" not in body:
            return error("forbidden", status=403)  # a session, to find out why a path was refused
        if body["op"] == "read":
            return self._read(body["path"])
        return ok({"results": [self._write(entry) for entry in body["writes"]]})

    def _url(self, path: str) -> tuple[str, str]:
        self.urls += 1
        name = f"u{self.urls}"
        self._paths[name] = path
        return name, f"{self.server.url}/store/{name}"

    def _read(self, path: str) -> Reply:
        if path not in self.files:
            return error("not_found", status=404)
        data = self.files[path]
        if len(data) <= 4 * 1024 * 1024:
            content = base64.b64encode(data).decode()
            return ok({"path": path, "size": len(data), "content": content, "encoding": "base64"})
        _, url = self._url(path)
        return ok({"path": path, "size": len(data), "presigned_url": url, "expires_in": 60, "method": "GET"})

    def _get(self, request: Recorded) -> Reply:
        data = self.files[self._paths[request.path.rpartition("/")[2]]]
        headers: dict[str, str] = {} if self.tag is None else {"ETag": self.tag(data)}
        wanted = request.headers.get("If-Match")
        if wanted is not None and wanted != headers.get("ETag"):
            return Reply(status=412)
        span = request.headers.get("Range")
        if span is None or not self.ranged:
            return Reply(body=data, headers=headers)
        low, high = (int(number) for number in span.removeprefix("bytes=").split("-"))
        headers["Content-Range"] = f"bytes {low}-{high}/{len(data)}"
        return Reply(status=206, body=data[low : high + 1], headers=headers)

    def _write(self, entry: dict[str, Any]) -> dict[str, Any]:
        path, size = entry["path"], entry["size"]
        done = {"path": path, "size": size, "complete": True, "written": True}
        if entry.get("presigned"):
            if not self.presigned:
                return {"error": {"code": "unsupported_operation", "message": "no such thing"}}
            name, url = self._url(path)
            return {
                **done, "complete": False, "written": False,
                "presigned_url": url, "upload_id": name, "expires_in": 60, "method": "PUT",
            }  # fmt: skip
        if "content" not in entry:
            data = self._puts[entry["upload_id"]]
        else:
            held = self.chunks.setdefault(entry["upload_id"], {})
            held[entry["start"]] = base64.b64decode(entry["content"])
            spans = [{"start": start, "end": start + len(piece)} for start, piece in sorted(held.items())]
            data = b"".join(piece for _, piece in sorted(held.items()))
            if len(data) < size:
                left = {"received_bytes": len(data), "ranges": spans, "complete": False, "written": False}
                return {"path": path, "size": size, **left}
        if len(data) != size or entry.get("sha256") not in (None, hashlib.sha256(data).hexdigest()):
            return {"error": {"code": "bad_request", "message": "sha256"}}
        self.files[path] = data
        return done

    def requests(self, method: str) -> list[Recorded]:
        return [request for request in self.server.requests if request.method == method]


__all__ = ["SYNC", "Store"]
