"""VMs of a scripted server, as far as their lives go."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Awaitable, Callable

from tests.support.samples import completed
from tests.support.server import Recorded, Reply, ScriptedServer, ok
from tests.support.waiting import until


class Host:
    """VMs of a scripted server.

    Attributes:
        forking: Given a new VM's id, answers its fork.
        deletion: Given a VM's id, answers its deletion.
    """

    def __init__(self, server: ScriptedServer) -> None:
        self.vms: set[str] = set()
        self.made = itertools.count(1)
        self.delay = 0.0
        self.run: Callable[[], Reply] = lambda: ok(completed(), delay=0.01)
        self.forking: Callable[[str], Reply | Awaitable[Reply]] = lambda vm: ok({"vm_id": vm}, delay=self.delay)
        self.deletion: Callable[[str], Reply | Awaitable[Reply]] = self.delete
        self.sessions: set[str] = set()
        server.answer(self)

    def __call__(self, request: Recorded) -> Reply | Awaitable[Reply]:
        parts = request.path.partition("/v1/")[2].split("/")
        if parts == ["fork"]:
            vm = f"vm-{next(self.made)}"
            self.vms.add(vm)
            return self.forking(vm)
        if request.method == "DELETE":
            if len(parts) > 2:
                self.sessions.discard(parts[3])
                return ok({"deleted": True})
            return self.deletion(parts[1])
        if parts[2:] == ["sessions"]:
            self.sessions.add("s-1")
            return ok({"session_id": "s-1"})
        if parts[2:] == ["runs"]:
            return self.run() if parts[1] in self.vms else Reply(status=404)
        return ok({"vm_id": parts[1]})

    def hold_forks(self) -> threading.Event:
        """Let forks wait for their answers. Returns what lets them come."""
        over = threading.Event()

        async def forking(vm: str) -> Reply:
            await until(over.is_set)
            return ok({"vm_id": vm})

        self.forking = forking
        return over

    def delete(self, vm: str) -> Reply:
        self.vms.discard(vm)
        return ok({"deleted": True})
