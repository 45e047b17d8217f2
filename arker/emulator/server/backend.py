"""The state that handlers share: settings, records and the ways to find them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import logging
import os
import secrets
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arker.emulator.control.clock import Clock
from arker.emulator.options import LOCAL_ORG_ID, EmulatorOptions
from arker.emulator.sandbox.base import SandboxProvider
from arker.emulator.server.cursors import Cursors
from arker.emulator.server.errors import ServiceError, missing
from arker.emulator.server.fault_matching import FaultSet
from arker.emulator.server.generation import Generation
from arker.emulator.server.goldens import Golden, find_golden, require_supported
from arker.emulator.server.idempotency import Ledger
from arker.emulator.server.journal.journal import Journal
from arker.emulator.server.keeper import Keeper
from arker.emulator.server.presign import Presigner
from arker.emulator.server.proxy.egress_proxy import Room
from arker.emulator.server.proxy.egress_upstream import Upstreams
from arker.emulator.server.records import Organisation, SessionRecord, VmRecord
from arker.emulator.server.tickets import Tickets

logger = logging.getLogger("arker.emulator")


class Backend:
    """The state of one server."""

    def __init__(
        self,
        options: EmulatorOptions,
        *,
        api_key: str,
        provider: SandboxProvider,
        spool_dir: Path,
        origin: str,
        clock: Clock,
        keeper: Keeper | None = None,
        secret: bytes | None = None,
    ) -> None:
        self.options = options
        self.keeper = keeper or Keeper()
        self.generation = Generation(name=options.generation, window=options.foreground_window)
        self.provider = provider
        self.spool_dir = spool_dir
        self.origin = origin
        self.clock = clock
        self.started_ms = clock.now_ms()
        self.closing = False
        """Set when the server ends: nothing may be started in VMs from then on."""
        self.starts = asyncio.Semaphore(4 * (os.cpu_count() or 1))
        """Commands that are being started, a VM's own start included: hundreds at once would all be late together."""
        self.measurements = asyncio.Semaphore(2)
        """Filesystems whose size is being measured."""
        self.resetting = asyncio.Lock()
        self.resets = 0
        """The number of resets so far."""
        self.faults = FaultSet()
        self.journal = Journal(clock)
        self.over = asyncio.Event()
        """Set when the server ends: what only waits for time to pass must not hold it up."""
        self.upstreams = Upstreams.from_environment()
        self.egress_room = Room.of_this_process()
        secret = secret or secrets.token_bytes(32)  # not derived from the API key: URLs are passed on
        self.cursors = Cursors(secret)
        self.presigned = options.presigned
        self.presigner = Presigner(secret, clock, options.presigned_ttl)
        self.tickets = Tickets(secret, clock)
        keys = {LOCAL_ORG_ID: api_key, **options.organisations}
        self._keys = [(_digest(key), name) for name, key in keys.items()]
        # Long enough to distinguish keys, and never a large part of a short one.
        self._prefixes = {name: key[: min(8, len(key) // 4)] for name, key in keys.items()}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.organisations: dict[str, Organisation] = {}
        self.begin_anew()

    def begin_anew(self) -> list[Organisation]:
        """Replace all records with empty ones at once. Returns the previous organisations, to be cleared up.

        What is under way for one of those finds nothing there any more, and `changing` refuses it.
        """
        self.resets += 1
        ended = list(self.organisations.values())
        for organisation in ended:
            organisation.over = True
        self.organisations = {
            name: Organisation(org_id=name, key_prefix=prefix) for name, prefix in self._prefixes.items()
        }
        self.journal = self.journal.successor()
        self.faults.clear()
        self.ledger = Ledger(self.clock, self.keeper.forget_key)
        self.clock.reset()
        return ended

    @contextmanager
    def changing(self, org: Organisation) -> Generator[None]:
        """Hold off a reset while this context makes or removes something that outlives its request.

        What is made is registered after a last call of `require_current`, with no waiting in between.

        Raises:
            ServiceError: the server was reset since the request came.
        """
        self.require_current(org)
        org.changes += 1
        try:
            yield
        finally:
            org.changes -= 1
            if org.changes == 0:
                org.quiet.set()

    def require_current(self, org: Organisation) -> None:
        """Raise 503 if the server was reset since the request arrived."""
        if org.over:
            raise was_reset()

    def next_number(self) -> int:
        """Return the next number. Records are numbered in the order of their creation; lists are sorted by number."""
        return next(self._numbers)

    def count_from(self, number: int) -> None:
        """Go on counting where an earlier server has stopped."""
        self._numbers = itertools.count(number)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work that outlives the request. The reference kept here prevents its garbage collection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def authenticate(self, authorization: str | None) -> Organisation:
        """Return the owner of a key; 401 when it has none. Every key is compared, in constant time."""
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        found: Organisation | None = None
        for digest, name in self._keys:
            if hmac.compare_digest(digest, given):
                found = self.organisations[name]
        if found is None or scheme.lower() != "bearer":
            raise ServiceError("unauthorized", "expected Authorization: Bearer and a valid API key")
        return found

    def find_anywhere(self, vm_id: str) -> VmRecord | None:
        """Find a VM by its id, in any organisation."""
        for organisation in self.organisations.values():
            vm = organisation.vms.get(vm_id)
            if vm is not None:
                return vm
        return None

    def close_tunnels(self) -> None:
        for org in self.organisations.values():
            for vm in org.vms.values():
                for tunnel in vm.tunnels.values():
                    tunnel.proxy.close()

    def golden(self, reference: str) -> Golden | None:
        """Return the golden of that name. One that is not here is answered by 422, and in generation 1 by 404."""
        golden = find_golden(reference)
        if golden is not None and not golden.supported and self.generation.new:
            raise missing("vm", f"the embedded backend has no image {golden.name}; fork ubuntu instead")
        return None if golden is None else require_supported(golden)

    def vm(self, org: Organisation, reference: str) -> VmRecord:
        """Return the caller's VM of that id or name; 404 when there is none, 403 for a golden."""
        golden = self.golden(reference)
        if golden is not None:
            raise ServiceError("forbidden", f"{golden.name} is a public golden: fork it and use the fork")
        vm = org.find(reference)
        if vm is None:
            raise missing("vm", f"there is no VM {reference!r}")
        return vm

    def usable_vm(self, org: Organisation, reference: str) -> VmRecord:
        """Return the caller's VM in which something is to be changed or run; 409 when it is immutable, and 422 when its
        files are damaged.
        """
        vm = self.vm(org, reference)
        require_whole(vm)
        if vm.immutable:
            what: dict[str, Any] = {"resource": {"kind": "vm", "id": vm.vm_id}, "requirement": "mutable"}
            raise ServiceError("invalid_state", f"VM {vm.vm_id} is immutable: fork it and use the fork", details=what)
        return vm

    @staticmethod
    def session(vm: VmRecord, session_id: str) -> SessionRecord:
        """Return a session of a VM; 404 when there is none."""
        session = vm.sessions.get(session_id)
        if session is None:
            raise missing("session", f"session_id: there is no session {session_id!r}")
        return session


def require_whole(vm: VmRecord) -> None:
    """Raise 422 if an earlier server has not left the files of a VM whole."""
    if vm.damage is not None:
        details = {"resource": {"kind": "vm", "id": vm.vm_id}}
        raise ServiceError("unrecoverable", f"VM {vm.vm_id} is damaged: {vm.damage}", details=details)


def was_reset() -> ServiceError:
    """Return the error for a request that was in progress at a reset."""
    return ServiceError("unavailable", "the server was reset while the request was under way")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


__all__ = ["Backend", "logger", "require_whole", "was_reset"]
