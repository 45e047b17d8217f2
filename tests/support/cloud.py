"""A scripted cloud: VMs that can be forked, used, lost and deleted, without a machine behind them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from arker import FleetProgress
from tests.support.clients import COMPUTE
from tests.support.samples import completed
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok


class Cloud:
    """Answers a scripted server's requests.

    Attributes:
        living: Ids of the VMs that there are.
        forked: Ids of the VMs that there have been, in order.
        most: The largest number of VMs at once.
        on_fork: Given a fork's number, from 0; may answer in its place.
        on_run: Given a VM's id and a command; may answer in its place.
        on_delete: Given a VM's id; may answer in its place.
    """

    def __init__(self, server: ScriptedServer) -> None:
        self.living: set[str] = set()
        self.forked: list[str] = []
        self.most = 0
        self.on_fork: Callable[[int], Reply | None] = lambda number: None
        self.on_run: Callable[[str, str], Reply | None] = lambda vm_id, command: None
        self.on_delete: Callable[[str], Reply | None] = lambda vm_id: None
        self._numbers = itertools.count()
        self._server = server
        server.answer(self._answer)

    def forks(self) -> list[Recorded]:
        """Return the requests that forked."""
        return [request for request in self._server.requests if request.path.endswith("/v1/fork")]

    def lose(self, vm_id: str) -> None:
        """Let a VM be gone."""
        self.living.discard(vm_id)

    def _answer(self, request: Recorded) -> Reply:
        path = request.path.removeprefix(f"{COMPUTE}/v1/")
        if path == "fork":
            return self._fork()
        if path == "health":
            return ok({"status": "ok"})
        _, vm_id, *rest = path.split("/")
        if request.method == "DELETE":
            reply = self.on_delete(vm_id)
            if reply is not None:
                return reply
        if vm_id not in self.living:
            return error("not_found", f"there is no VM {vm_id!r}", status=404)
        if request.method == "DELETE":
            self.living.discard(vm_id)
            return ok({"deleted": True})
        if rest == ["runs"]:
            command = request.json["command"]
            return self.on_run(vm_id, command) or ok(completed(f"{command}\n"))
        if rest == ["sync"]:
            return error("not_found", "there is no such file", status=404)
        return ok({"vm_id": vm_id, "state": "idle"})

    def _fork(self) -> Reply:
        number = next(self._numbers)
        reply = self.on_fork(number)
        if reply is not None and reply.status != 200:
            return reply
        vm_id = f"vm-{number}"
        self.living.add(vm_id)
        self.forked.append(vm_id)
        self.most = max(self.most, len(self.living))
        return ok({"vm_id": vm_id}, delay=0.0 if reply is None else reply.delay)


def when(condition: Callable[[FleetProgress], bool], event: asyncio.Event) -> Callable[[FleetProgress], None]:
    """Return a callback for progress that sets an event as soon as a condition holds."""

    def tell(progress: FleetProgress) -> None:
        if condition(progress):
            event.set()

    return tell


__all__ = ["Cloud", "when"]
