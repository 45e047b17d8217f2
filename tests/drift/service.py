"""A service that answers as today's contract says, keeps account of what it has done, and whose replies can be bent.

Bodies of requests are closed, but for what that contract keeps for older clients. Errors are nested. Routes of the
older generation (tunnels, syncs, resizing) are there if the plan says so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from attrs import define, field

from tests.drift.changes import NOW, Json, error_body
from tests.drift.machine import Machine
from tests.drift.owned import Owned
from tests.drift.plans import Plan
from tests.drift.wire import Answer, Effect, Refusal, closed, of, page
from tests.support.server import Recorded, Reply

_FORK: Final = {
    "source_vm_id", "source_vm_name", "source_org_id", "source_org_name", "image", "name", "description", "public",
    "disk", "durable", "nestedvirt", "platforms", "layers", "resources", "policies", "ssh_public_keys",
    "queueing_timeout", "pool_id", "pool_name", "command",
}  # fmt: skip
BASE: Final = f"01VM{1:022d}"
"""The VM that operations are about; another program has made it, and it is meant to stay."""


@define(eq=False)
class Service:
    """VMs and what is in them.

    Attributes:
        plan: How it answers.
        root: A directory for the files of its VMs.
        url: Where it is reached, for URLs that it gives.
        vms: Those that exist.
        made: How many VMs were ever made.
        effects: What has been done, in order.
        posts: How many forks with each key have come.
        bends: Whether replies are bent now.
        asked: The names of the operations that it was asked for.
        on_request: Told the number of each request, once it has been carried out and before it is answered.
    """

    plan: Plan
    root: Path
    url: str = ""
    vms: dict[str, Machine] = field(factory=dict[str, Machine])
    made: int = 0
    effects: list[Effect] = field(factory=list[Effect])
    posts: Counter[str] = field(factory=Counter[str])
    bends: bool = False
    asked: Counter[str] = field(factory=Counter[str])
    on_request: Callable[[int], Awaitable[None]] | None = None
    _keys: dict[tuple[str, str], tuple[Json, Effect]] = field(factory=dict[tuple[str, str], "tuple[Json, Effect]"])
    _filesystems: dict[str, Json] = field(factory=dict[str, Json])
    _owned: Owned = field(factory=Owned)
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1))
    _seen: Counter[int] = field(factory=Counter[int])

    def furnish(self) -> None:
        """Make what operations are about: three of each kind."""
        for _ in range(3):
            self.fork({}, None)
        for name in ("a", "b", "c"):
            self._make_filesystem({"name": name})
        self.vms[BASE].furnish()
        self.effects.clear()
        self.made = 0

    # --- answering --------------------------------------------------------------------------------------------------

    async def __call__(self, request: Recorded) -> Reply:
        name = self.operation_of(request)
        self.asked[name] += 1
        bent = self._bent(name)
        answer = Answer({})
        if bent is None or bent.reaches:
            answer = await self._answered(request)
        reply = answer.reply()
        lies = False
        if bent is not None and (reply.status < 400 or not bent.reaches):
            for change in bent.changes:
                reply = change(reply)
                lies = lies or change.lies
        for effect in () if lies else answer.effects:
            effect.truthful = True
        if self.bends and self.on_request is not None:
            await self.on_request(self.asked.total())
        return reply

    def _bent(self, name: str) -> Any:
        if not self.bends:
            return None
        for index, bent in enumerate(self.plan.bends):
            if bent.operation == name:
                self._seen[index] += 1
                if bent.skip < self._seen[index] <= bent.skip + bent.times:
                    return bent
        return None

    async def _answered(self, request: Recorded) -> Answer:
        try:
            return await self._answer(request)
        except Refusal as refused:
            details = {"details": refused.details} if refused.details else {}
            return Answer(error_body(refused.code, refused.message, **details), status=refused.status)

    def operation_of(self, request: Recorded) -> str:
        """Return the operation of a request."""
        match request.method, _parts(request):
            case ("POST", ["fork"]):
                return "fork"
            case ("GET", ["vms"]):
                return "list_vms"
            case ("GET", ["vms", _]):
                return "get_vm"
            case ("DELETE", ["vms", _]):
                return "delete"
            case ("GET", ["runs"]):
                return "list_org_runs"
            case (_, ["vms", _, "sync"]):
                return Machine.name_of_sync(request.json)
            case ("PATCH", ["vms", _]):
                return "update"
            case ("GET", [("regions" | "whoami" | "health") as kind]):
                return kind
            case ("POST", ["vms", _, "resize"]):
                return "resize"
            case ("POST", ["vms", _, "runs"]):
                return "run"
            case ("DELETE", ["vms", _, "runs", _]):
                return "cancel_run"
            case ("POST", [*_, "pty-ticket"]):
                return "create_ticket"
            case ("PATCH", ["pools", _]):
                return "update_pool"
            case (method, [*_, ("pools" | "workers" | "api-keys") as kind]):
                return f"create_{kind[:-1]}" if method == "POST" else f"list_{kind}"
            case (method, [("pools" | "api-keys") as kind, _]):
                return f"delete_{kind[:-1]}" if method == "DELETE" else f"get_{kind[:-1]}"
            case (method, [*_, ("runs" | "sessions" | "tunnels" | "syncs" | "mounts" | "filesystems") as kind]):
                return f"create_{kind[:-1]}" if method == "POST" else f"list_{kind}"
            case (method, [*_, ("runs" | "sessions" | "tunnels" | "syncs" | "mounts" | "filesystems") as kind, _]):
                return f"delete_{kind[:-1]}" if method == "DELETE" else f"get_{kind[:-1]}"
            case (method, ["through", *_]):
                return "through"
            case (method, ["store", *_]):
                return "store_put" if method == "PUT" else "store_get"
            case _:
                return "none"

    async def _answer(self, request: Recorded) -> Answer:
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        match request.method, _parts(request):
            case ("POST", ["fork"]):
                return self._fork(request)
            case ("GET", ["vms"]):
                return Answer(page("vms", [vm.described() for vm in self.vms.values()], query))
            case ("GET", ["vms", vm]):
                return Answer(of(self.vms, vm, "vm").described())
            case ("DELETE", ["vms", vm]):
                of(self.vms, vm, "vm")
                del self.vms[vm]
                return Answer({"deleted": True}, effects=(self.note("delete", vm, vm),))
            case ("GET", ["regions"]):
                region = {"provider": "aws", "region": "us-west-2", "endpoint": "https://h", "platforms": ["p"]}
                return Answer({"regions": [region]})
            case ("GET", ["whoami"]):
                return Answer({"org_id": "acme", "org_name": "Acme"})
            case (method, [("pools" | "api-keys"), *_]):
                return self._owned.answer(method, _parts(request), request, query)
            case ("GET", ["filesystems"]):
                return Answer(page("filesystems", list(self._filesystems.values()), query))
            case ("POST", ["filesystems"]):
                made = self._make_filesystem(request.json)
                return Answer(made, effects=(self.note("create_filesystem", "", made["filesystem_id"]),))
            case ("GET", ["filesystems", name]):
                return Answer(of(self._filesystems, name, "filesystem"))
            case ("DELETE", ["filesystems", name]):
                of(self._filesystems, name, "filesystem")
                del self._filesystems[name]
                return Answer({"deleted": True}, effects=(self.note("delete_filesystem", "", name),))
            case ("GET", ["runs"]):
                return Answer(_org_rows(query))
            case (_, ["through", vm, key]):
                return Answer(of(self.vms, vm, "vm").through(key))
            case (_, ["store", vm, name]):
                return of(self.vms, vm, "vm").store(request, name)
            case (_, ["vms", vm, *below]):
                return await of(self.vms, vm, "vm").answer(request, below, query)
            case _:
                pass
        raise Refusal(404, "not_found", "no such route", resource="route")

    # --- what is done -----------------------------------------------------------------------------------------------

    def note(self, kind: str, vm: str, name: str) -> Effect:
        """Keep account of something that is done."""
        effect = Effect(kind, vm, name)
        self.effects.append(effect)
        return effect

    def known(self, kind: str, key: str | None) -> tuple[Json, Effect] | None:
        """Return what was done under a key before."""
        return self._keys.get((kind, key)) if self.plan.knows_keys and key is not None else None

    def keep(self, kind: str, key: str | None, done: tuple[Json, Effect]) -> None:
        if key is not None:
            self._keys[kind, key] = done

    def stands(self, effect: Effect) -> bool:
        """Return whether the operation's effect still exists."""
        vm = self.vms.get(effect.vm)
        match effect.kind:
            case "fork":
                return effect.vm in self.vms
            case "create_filesystem":
                return effect.name in self._filesystems
            case "create_session" | "create_tunnel" | "create_sync" | "create_mount":
                return vm is not None and vm.has(effect.kind, effect.name)
            case _:
                return True

    def _fork(self, request: Recorded) -> Answer:
        key = request.key
        if key is not None:
            self.posts[key] += 1
        known = self.known("fork", key)
        if known is not None:
            vm, effect = known
            of(self.vms, effect.vm, "vm")  # a key whose VM has been deleted
            return Answer(vm, effects=(effect,))
        made = self.fork(request.json, key)
        self.keep("fork", key, (made.described(), made.effect))
        return Answer(made.described(), effects=(made.effect,))

    def fork(self, body: Json, key: str | None) -> Machine:
        """Make a VM."""
        if body:
            closed(body, _FORK)
            if len([name for name in ("source_vm_id", "source_vm_name", "image") if name in body]) != 1:
                raise Refusal(400, "bad_request", "exactly one source")
        self.made += 1
        vm_id = f"01VM{next(self._numbers):022d}"
        # Of a resolution that tells which came first.
        exact = "seconds" if self.plan.older else "microseconds"
        created = datetime.now(timezone.utc).isoformat(timespec=exact).replace("+00:00", "Z")
        self.vms[vm_id] = Machine(self, vm_id, created, self.note("fork", vm_id, key or ""), body.get("name"))
        return self.vms[vm_id]

    def _make_filesystem(self, body: Json) -> Json:
        closed(body, {"name"})
        name = f"01FS{next(self._numbers)}"
        made = {"filesystem_id": name, "name": body["name"], "owner_org_id": "acme", "created_at": NOW}
        self._filesystems[name] = made
        return made

    def filesystems(self) -> list[str]:
        return list(self._filesystems)


def _parts(request: Recorded) -> list[str]:
    return [unquote(part) for part in request.path.partition("/v1/")[2].rstrip("/").split("/")]


def _org_rows(query: dict[str, str]) -> Json:
    row: Json = {
        "request_id": "", "run_id": "", "vm_id": "", "session_id": "", "status": 200, "exit_code": None,
    }  # fmt: skip
    offset, limit = int(query.get("offset", 0)), int(query.get("limit", 2))
    rows = [{**row, "t_ms": number} for number in range(3)][offset : offset + limit]
    return {"since": 0, "until": 9, "limit": limit, "offset": offset, "lite": False, "rows": rows}


__all__ = ["BASE", "Service"]
