"""Files."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any, Final

from tests.generations.walks.registry import NOWHERE, walk
from tests.generations.wire import Wire

_ULID: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _upload_id() -> str:
    return "0" + "".join(secrets.choice(_ULID) for _ in range(25))


def _chunk(path: str, data: bytes, **fields: Any) -> dict[str, Any]:
    content = base64.b64encode(data).decode()
    return {
        "path": path,
        "size": len(data),
        "upload_id": _upload_id(),
        "content": content,
        "start": 0,
        "end": len(data),
        "is_secret": False,
        **fields,
    }


@walk
async def sync(wire: Wire, vm: str) -> None:
    data, where = b"some bytes \xff", f"{vm}/sync"
    digest = hashlib.sha256(data).hexdigest()
    write = {"op": "write", "writes": [_chunk("d/file", data, sha256=digest), _chunk("d/empty", b"")]}
    first, second = (await wire.get("POST", where, write))["results"]
    assert (first["complete"], first["written"], second["complete"], second["written"]) == (True,) * 4
    read = await wire.get("POST", where, {"op": "read", "path": "d/file"})
    assert base64.b64decode(read["content"]) == data
    assert (await wire.get("POST", where, {"op": "read", "path": "d/empty"}))["encoding"] == "utf8"
    listed = await wire.get("POST", where, {"op": "manifest", "path": "d"})
    assert {each["path"]: each["hash"] for each in listed["entries"]} == {
        "file": digest,
        "empty": hashlib.sha256().hexdigest(),
    }
    assert (await wire.get("POST", where, {"op": "manifest", "path": "not/there"}))["entries"] == []
    asked = {"path": "big", "size": len(data), "presigned": True}
    (given,) = (await wire.get("POST", where, {"op": "write", "writes": [asked]}))["results"]
    async with wire.session.request(given["method"], given["presigned_url"], data=data) as response:
        assert response.status == 200
    commit = {"path": "big", "size": len(data), "upload_id": given["upload_id"], "sha256": digest}
    (done,) = (await wire.get("POST", where, {"op": "write", "writes": [commit]}))["results"]
    assert (done["complete"], done["written"]) == (True, True)
    bad = [
        _chunk("bad", data, sha256="0" * 64),
        _chunk("/proc/nowhere/x", data),
        {"path": "none", "size": 1, "upload_id": _upload_id()},
        {**commit, "upload_id": "none"},
    ]
    results = (await wire.get("POST", where, {"op": "write", "writes": bad}))["results"]
    assert all(each["error"]["code"] for each in results)
    await wire.refused("not_found", "POST", where, {"op": "read", "path": "nowhere"})
    await wire.refused("bad_request", "POST", where, {"op": "read", "path": "/tmp"})
    refused: tuple[dict[str, Any], ...] = (
        {},
        {"op": "erase", "path": "d"},
        {"op": "read", "path": "d/file", "mode": 1},
        *([{"op": "write", "writes": []}] if wire.closed else []),
        {"op": "manifest", "path": ""},
        {"op": "manifest", "path": "/"},
    )
    for wrong in refused:
        await wire.refused("bad_request", "POST", where, wrong)
    closed = {"op": "write", "writes": [{**_chunk("x", b"x"), "mode": 0o644}]}
    (result,) = (await wire.get("POST", where, closed))["results"]
    assert result["error"]["code"] == "bad_request"
    await wire.refused("not_found", "POST", f"{NOWHERE}/sync", {"op": "read", "path": "x"})
    await wire.refused("forbidden", "POST", "/v1/vms/ubuntu/sync", {"op": "write", "writes": [_chunk("x", b"x")]})
