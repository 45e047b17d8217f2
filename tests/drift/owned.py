"""What an organisation of the service has beside VMs and filesystems: pools and API keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import define, field

from tests.drift.changes import NOW, Json
from tests.drift.wire import Answer, Refusal, closed, of, page
from tests.support.server import Recorded

_SIZE: Final = {"vcpu": 1, "memory_mib": 2, "disk_mib": 3}


def _pool(number: int, name: str | None = None) -> Json:
    return {
        "pool_id": f"01PO{number}",
        "type": "self_hosted",
        "name": name,
        "region": "us-west-2",
        "platform": None,
        "state": "running",
        "reason": None,
        "created_at": NOW,
        "resources_reserved": _SIZE,
        "resources_provisioned": _SIZE,
    }


def _key(number: int) -> Json:
    return {
        "api_key_id": f"key-{number}",
        "scopes": [],
        "created_at": NOW,
        "role": "admin",
        "vm_id": None,
        "pool_id": None,
        "action": None,
    }


@define(eq=False)
class Owned:
    """Three of each kind at first."""

    _pools: dict[str, Json] = field(factory=lambda: {pool["pool_id"]: pool for pool in map(_pool, range(3))})
    _keys: dict[str, Json] = field(factory=lambda: {key["api_key_id"]: key for key in map(_key, range(3))})

    def answer(self, method: str, parts: list[str], request: Recorded, query: Mapping[str, str]) -> Answer:
        """Answer a request for a pool or an API key."""
        match method, parts:
            case ("GET", ["pools"]):
                return Answer(page("pools", list(self._pools.values()), query))
            case ("POST", ["pools"]):
                closed(request.json, {"type", "name", "platform", "resources", "commitments", "byoc", "isolation"})
                made = _pool(len(self._pools), request.json.get("name"))
                self._pools[made["pool_id"]] = made
                return Answer(made, status=201)
            case ("GET", ["pools", pool]):
                return Answer(of(self._pools, pool, "pool"))
            case ("PATCH", ["pools", pool]):
                closed(request.json, {"name", "resources", "commitments"})
                of(self._pools, pool, "pool").update(request.json)
                return Answer(self._pools[pool])
            case ("DELETE", ["pools", pool]):
                return Answer({**of(self._pools, pool, "pool"), "state": "deleting"}, status=202)
            case ("GET", ["pools", pool, "workers"]):
                of(self._pools, pool, "pool")
                worker = {"worker_id": "w", "state": "running", "last_seen_at": NOW}
                return Answer({"workers": [{**worker, "resources_provisioned": _SIZE, "resources_reserved": _SIZE}]})
            case ("GET", ["api-keys"]):
                return Answer({"api_keys": list(self._keys.values())})
            case ("POST", ["api-keys"]):
                closed(request.json, {"name", "scopes"})
                made = _key(len(self._keys))
                self._keys[made["api_key_id"]] = made
                return Answer({**made, "key": "new"}, status=201)
            case ("DELETE", ["api-keys", key]):
                of(self._keys, key, "api_key")
                del self._keys[key]
                return Answer(b"", status=204)
            case _:
                raise Refusal(404, "not_found", "no such route", resource="route")


__all__ = ["Owned"]
