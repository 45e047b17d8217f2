"""The server's records: organisations, VMs, sessions and runs. Plain state without rules."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from weakref import WeakSet

from attrs import define, field

from arker.emulator.sandbox.base import HOME, Outlet, RunHandle, Sandbox, TerminalHandle, Volume
from arker.emulator.server.goldens import NetworkJson
from arker.emulator.server.outputs import Output

if TYPE_CHECKING:
    from arker.emulator.server.journal.trace import Trace
    from arker.emulator.server.proxy.tunnel_proxy import TunnelProxy
    from arker.emulator.server.terminal import Terminal

REQUESTS: Final = 5000
"""Requests of an organisation that are remembered."""

Killable: TypeAlias = RunHandle | TerminalHandle
State: TypeAlias = Literal["pending", "running", "completed", "failed", "cancelled"]
StopReason: TypeAlias = Literal["cancelled", "timeout", "VM deleted", "session deleted", "reset"]


@define(eq=False, kw_only=True)
class SessionRecord:
    """A session of a VM. Its fair lock (first come, first served) is the queue of the session's runs."""

    session_id: str
    seq: int
    """By which lists are sorted: a session's number says nothing about its age."""
    index: int
    started_ms: int
    cwd: str = HOME
    env: dict[str, str] = field(factory=dict[str, str], repr=False)
    lock: asyncio.Lock = field(factory=asyncio.Lock, repr=False)
    pending: int = 0
    """Runs that were accepted and have not ended."""
    current: RunRecord | None = None
    handles: WeakSet[Killable] = field(factory=WeakSet[Killable], repr=False)
    """Commands and terminals of the session that are running or left something in the background. The sandbox holds
    those, and the others have no holder."""
    terminal: Terminal | None = field(default=None, repr=False)
    """Its terminal, from its start until its end has been told."""
    opening: bool = False
    """Whether its terminal is being started."""

    @property
    def in_terminal(self) -> bool:
        """Whether a program runs in its terminal, or is about to."""
        return self.opening or (self.terminal is not None and self.terminal.alive)

    @property
    def state(self) -> Literal["running", "pending", "idle"]:
        if self.current is not None or self.in_terminal:
            return "running"
        return "pending" if self.pending else "idle"


@define(eq=False, kw_only=True)
class RunRecord:
    """A run; its output is the handle's while it goes on, and kept here afterwards."""

    run_id: str
    seq: int
    vm: VmRecord = field(repr=False)
    session: SessionRecord = field(repr=False)
    command: str = field(repr=False)
    timeout: float | None
    started_ms: int
    completed_ms: int | None = None
    state: State = "running"
    """``pending`` while it waits for earlier runs of its session."""
    patience: float = 0.0
    """Seconds that its start may wait for resources of the machine."""
    exit_code: int | None = None
    fail_reason: str | None = None
    retry_count: int = 0
    acquire: str | None = None
    release: str | None = None
    """Resources to warm up before the run and to let go of after it, as the request named them; recorded only."""
    accepted_at: float = field(factory=time.perf_counter)
    launched_at: float | None = None
    ended_at: float | None = None
    tunnels: list[TunnelRecord] = field(factory=list["TunnelRecord"], repr=False)
    """The tunnels that its request asked for. They close with the run."""
    handle: RunHandle | None = field(default=None, repr=False)
    stop_reason: StopReason | None = None
    """Why the server wants it ended, once it does."""
    signalled: str | None = None
    """The last signal that was sent to it to end it, such as ``SIGINT``."""
    started: asyncio.Event = field(factory=asyncio.Event, repr=False)
    """Set when there is a handle, or never will be one."""
    done: asyncio.Event = field(factory=asyncio.Event, repr=False)
    storing: asyncio.Task[None] | None = field(default=None, repr=False)
    """The task that puts a large output into a file once the run has ended."""
    readers: int = 0
    """Replies that its output is needed for."""
    put_away: bool = False
    """Whether the outputs below are complete already, although there still is a handle."""
    kept_stdout: Output = field(default=b"", repr=False)
    kept_stderr: Output = field(default=b"", repr=False)

    def stdout(self) -> Output:
        return self.kept_stdout if self.handle is None else self.handle.stdout()

    def stderr(self) -> Output:
        return self.kept_stderr if self.handle is None else self.handle.stderr()


@define(eq=False, kw_only=True)
class TunnelRecord:
    """A connection from outside to a port of a VM."""

    tunnel_key: str
    seq: int
    vm: VmRecord = field(repr=False)
    port: int
    token: str | None = field(repr=False)
    """The token that requests need; None for a public tunnel."""
    started_ms: int
    proxy: TunnelProxy = field(repr=False)
    run_id: str | None = None
    with_vm: bool = False
    """Whether the fork that made the VM asked for it."""
    state: Literal["open", "closed"] = "open"


@define(eq=False, kw_only=True)
class FilesystemRecord:
    """A directory that outlives VMs."""

    filesystem_id: str
    seq: int
    org_id: str
    name: str
    created_ms: int
    region: str
    volume: Volume = field(repr=False)
    deleted: bool = False


@define(eq=False, kw_only=True)
class SyncRecord:
    """A filesystem bound into a VM."""

    sync_id: str
    seq: int
    filesystem: FilesystemRecord
    path: str
    created_ms: int


@define(eq=False, kw_only=True)
class Upload:
    """A file that is being uploaded to a VM.

    Attributes:
        kind: ``chunks`` or ``put``: the two cannot be mixed under one upload id.
        ranges: The ranges held, sorted and not touching.
        expected: The digest that the client gave, if it did.
        received: For a PUT, the digest of what arrived; None until it has arrived.
        written: The file is in place. The entry stays, so that a repeated request finds its answer.
    """

    upload_id: str
    kind: Literal["chunks", "put"]
    path: str
    size: int
    spool: Path
    created_ms: int
    ranges: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    expected: str | None = None
    received: str | None = None
    written: bool = False
    lock: asyncio.Lock = field(factory=asyncio.Lock, repr=False)

    def add(self, start: int, end: int) -> None:
        """Note that ``[start, end)`` is held."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted([*self.ranges, (start, end)]):
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        self.ranges = merged

    @property
    def held(self) -> int:
        return sum(end - start for start, end in self.ranges)

    @property
    def complete(self) -> bool:
        return self.ranges == [(0, self.size)]

    def discard(self) -> None:
        """Discard the spool file, if there is one."""
        self.spool.unlink(missing_ok=True)


@define(eq=False, kw_only=True)
class VmRecord:
    """A VM and everything that goes when it is deleted."""

    vm_id: str
    seq: int
    org_id: str
    name: str | None
    public: bool
    created_ms: int
    region: str
    provider: str
    root_id: str | None
    root_name: str | None
    network: NetworkJson
    rules: dict[str, dict[str, Any]] | None = field(repr=False)
    """Its policy as rules by their ids; None where no rules mean exactly what ``network`` does."""
    outlet: Outlet | None = field(repr=False)
    disk: bool
    vcpu_count: int
    memory_mib: int
    max_memory_mib: int | None
    disk_mib: int
    sandbox: Sandbox = field(repr=False)
    description: str | None = None
    immutable: bool = False
    durable: bool = False
    """Whether runs that the server's end interrupts are run again."""
    last_active_ms: int
    sessions: dict[str, SessionRecord] = field(repr=False)
    """By id, oldest first; one of them is the default session."""
    next_index: int = 1
    """The number of the next session; numbers are not used again."""
    runs: dict[str, RunRecord] = field(factory=dict[str, "RunRecord"], repr=False)
    uploads: dict[str, Upload] = field(factory=dict[str, Upload], repr=False)
    tunnels: dict[str, TunnelRecord] = field(factory=dict[str, TunnelRecord], repr=False)
    """By key, oldest first; those of ended runs stay, closed."""
    syncs: dict[str, SyncRecord] = field(factory=dict[str, SyncRecord], repr=False)
    """By id, oldest first."""
    receiving: set[asyncio.Transport] = field(factory=set[asyncio.Transport], repr=False)
    """Connections over which files are coming that are held beside the VM."""
    damage: str | None = None
    """What is wrong with its files, which an earlier server has left; None for a VM that can be used."""
    deleted: bool = False

    def resize(self, vcpu_count: int | None, memory_mib: int | None, disk_mib: int | None) -> None:
        """Record the sizes that are given."""
        self.vcpu_count = vcpu_count or self.vcpu_count
        self.memory_mib = memory_mib or self.memory_mib
        self.disk_mib = disk_mib or self.disk_mib

    @property
    def session(self) -> SessionRecord:
        """The default session. Another one takes its place when it is deleted."""
        return next(session for session in self.sessions.values() if session.index == 0)

    @property
    def state(self) -> Literal["running", "idle"]:
        return (
            "running" if any(session.pending or session.in_terminal for session in self.sessions.values()) else "idle"
        )


@define(eq=False, kw_only=True)
class Organisation:
    """An owner of VMs. A reset replaces it: requests that still hold the old one are refused."""

    org_id: str
    vms: dict[str, VmRecord] = field(factory=dict[str, VmRecord], repr=False)
    """By id, oldest first."""
    names: dict[str, VmRecord | None] = field(factory=dict[str, "VmRecord | None"], repr=False)
    """Names that are taken; None while the VM is being made."""
    filesystems: dict[str, FilesystemRecord] = field(factory=dict[str, FilesystemRecord], repr=False)
    """By id, oldest first."""
    filesystem_names: set[str] = field(factory=set[str], repr=False)
    """Names that are taken, also by a filesystem that is being made."""
    key_prefix: str = field(default="", repr=False)
    """The beginning of its API key, as the run list shows it."""
    requests: deque[Trace] = field(factory=lambda: deque(maxlen=REQUESTS), repr=False)
    """The latest requests, oldest first."""
    over: bool = False
    """Whether the server has been reset since."""
    changes: int = 0
    """Requests that are making or removing something; a reset waits for them."""
    quiet: asyncio.Event = field(factory=asyncio.Event, repr=False)
    """Set each time when there are no more of them."""

    def find(self, reference: str) -> VmRecord | None:
        """Find a VM by its id or its name."""
        return self.vms.get(reference) or self.names.get(reference)


__all__ = [
    "FilesystemRecord",
    "Organisation",
    "RunRecord",
    "SessionRecord",
    "State",
    "StopReason",
    "SyncRecord",
    "TunnelRecord",
    "VmRecord",
    "Upload",
]
