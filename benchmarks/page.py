"""Row ``page``: the CPU time of making models of a page of 5,000 VMs, each with 2 sessions and a tunnel.

The limit needs msgspec (the extra ``bench``): its decoder goes from the text straight to frozen attrs classes with the
fields of the models. Its own structs would take half of that time, but callers must not get those.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
import orjson
from attrs import frozen

from arker._protocol.reader import Reader
from arker.models import ListVmsResponse
from benchmarks.measure import Row, interleave
from benchmarks.server import vm

NAME: Final = "page"
VMS: Final = 5000
ROUNDS: Final = 7


# A union has to be told apart by its tag, which msgspec knows of its own classes only.
class _Open(msgspec.Struct, frozen=True, tag_field="type", tag="open"):
    pass


class _Blocked(msgspec.Struct, frozen=True, tag_field="type", tag="blocked"):
    pass


class _Allow(msgspec.Struct, frozen=True, tag_field="type", tag="allow"):
    allow: tuple[str, ...]


class _Block(msgspec.Struct, frozen=True, tag_field="type", tag="block"):
    block: tuple[str, ...]


@frozen
class _Session:
    session_id: str
    state: str
    cwd: str
    session_idx: int = 0
    env: dict[str, str] | None = None
    started_at: str | None = None
    vm_id: str | None = None
    vm_name: str | None = None
    source_org_id: str | None = None
    region: str | None = None
    provider: str | None = None


@frozen
class _Tunnel:
    vm_id: str
    port: int
    visibility: str
    protocol: str
    state: str
    run_id: str | None = None
    url: str | None = None
    message: str | None = None
    started_at: str | None = None
    tunnel_key: str | None = None
    auth_mode: str | None = None
    auth_token: str | None = None
    vm_name: str | None = None
    source_org_id: str | None = None
    region: str | None = None
    provider: str | None = None


@frozen
class _Vm:
    vm_id: str
    owner_org_id: str | None = None
    created_at: str | None = None
    name: str | None = None
    public: bool | None = None
    root_source_vm_id: str | None = None
    root_source_vm_name: str | None = None
    state: str | None = None
    region: str | None = None
    provider: str | None = None
    started_at: str | None = None
    vcpu_count: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    network: _Open | _Blocked | _Allow | _Block | None = None
    max_vcpus: int | None = None
    max_memory_mib: int | None = None
    min_memory_mib: int | None = None
    worker_id: str | None = None
    sessions: tuple[_Session, ...] = ()
    tunnels: tuple[_Tunnel, ...] = ()


@frozen
class _Page:
    vms: tuple[_Vm, ...] = ()
    next_cursor: str | None = None


def measure(base_url: str) -> Row:
    del base_url  # the text is here already
    text = orjson.dumps({"vms": [vm(f"01JB{index:022}", sessions=2, tunnels=1) for index in range(VMS)]})
    reader = Reader()  # as replies are read
    decoder = msgspec.json.Decoder(_Page)

    def limit() -> float:
        started = time.process_time()
        page = decoder.decode(text)
        taken = time.process_time() - started
        assert len(page.vms) == VMS
        return taken

    def ours() -> float:
        started = time.process_time()
        page = reader.structure(reader.value(text), ListVmsResponse)
        taken = time.process_time() - started
        assert len(page) == VMS
        return taken

    rounds = interleave(limit, ours, rounds=ROUNDS)
    return rounds.row(NAME, f"a page of {VMS:,} VMs into models, CPU; limit: msgspec into attrs")
