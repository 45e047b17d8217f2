"""Whatever a program gets and may send to another process can be pickled; what cannot be says so plainly."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

import arker
from arker import FleetOutcome, InvalidArgumentError, TunnelResponse
from arker.emulator import Emulator
from arker.progress import TransferBar
from arker_sync import Arker
from tests.support.clients import make_client
from tests.support.samples import FULL, full
from tests.support.server import ScriptedServer

ERROR = arker.NotFoundError("no", status=404, vm_id="vm-1", file="/nope")
FILE = arker.FileOutcome(path="/a", local=None, size=3, error=ERROR, seconds=0.1)
LEFT = arker.Leftover(vm_id="vm-1", base_url="http://a", idempotency_key="k", created_at="now", error=ERROR)
REQUEST: dict[str, Any] = {
    "operation": "vm.run",
    "method": "POST",
    "url": "http://a",
    "attempt": 1,
    "started": 0.0,
    "seconds": 0.1,
}
STAT = arker.FileStat(kind="file", size=3, mode=0o644, uid=0, gid=0, links=1, mtime_ns=1)
ENTRY = arker.DirectoryEntry(path="a", action="create", kind="file", size=3)

REPORTS: list[Any] = [
    arker.Recovery(work="stopped", vm_id="vm-1", exit_code=2),
    FILE,
    LEFT,
    ENTRY,
    STAT,
    arker.FileEntry(name="a", path="/a", stat=STAT),
    arker.FileMatch(path="/a", line_number=1, line="x"),
    arker.FileEvent(kind="created", path="/a"),
    arker.ReapReport(deleted=(LEFT,), failed=(LEFT,)),
    arker.DirectoryReport(direction="upload", local="a", remote="/a", entries=(ENTRY,), failures=(FILE,)),
    arker.FleetProgress(operation="map", done=1, failed=0, total=None, vms=2),
    arker.TransferProgress(operation="vm.upload", vm_id="v", path="/a", direction="upload", done=1, total=2),
    arker.TransferResult(path="/a", size=1, strategy="put", seconds=0.1),
    arker.TransferEvent(operation="vm.upload", vm_id="v", path="/a", direction="upload", done=1, total=2),
    arker.RequestEvent(
        **REQUEST,
        status=404,
        error=ERROR,
        cancelled=False,
        request_id=None,
        idempotency_key=None,
        bytes_sent=1,
        bytes_received=2,
    ),
    arker.RetryEvent(operation="vm.run", attempt=1, delay=0.1, error=ERROR),
    arker.Hooks(on_retry=print),
    arker.HttpTimeouts(),
    arker.RetryPolicy(),
    arker.OutputChunk("stdout", b"a"),
    arker.OutputLine("stdout", "a"),
    arker.Replayed(connections=2),
    TunnelResponse(200, CIMultiDictProxy(CIMultiDict([("A", "1"), ("a", "2")])), b"body"),
    arker.ForkRequest(source_vm_name="ubuntu", network=False),
    arker.RunRequest(command="true"),
    arker.CreateSessionRequest(env={"A": "1"}),
    arker.TunnelRequest(ports=(80,)),
    arker.ResizeRequest(vcpu_count=2),
    arker.NetworkPolicyAllow(("a",)),
    arker.SyncChunkWrite(path="/a", size=1, upload_id="u", content=b"a", start=0, end=1),
]


def shown(value: Any) -> str:
    """Return a value with all its content. Errors are not equal to their copies."""
    if isinstance(value, BaseException):
        return repr((type(value), vars(value)))
    cls: Any = value.__class__
    if attrs.has(cls):
        return repr([(field.name, shown(getattr(value, field.name))) for field in attrs.fields(cls)])
    if isinstance(value, tuple):
        return repr([shown(item) for item in cast("tuple[object, ...]", value)])
    return repr(value)


@pytest.mark.parametrize("value", REPORTS, ids=lambda value: type(value).__name__)
def test_what_is_told_can_be_pickled(value: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert shown(pickle.loads(pickle.dumps(value, protocol))) == shown(value)
    assert shown(copy.copy(value)) == shown(value)


@pytest.mark.parametrize("cls", list(FULL), ids=lambda cls: cls.__name__)
def test_models_can_be_pickled(cls: type[Any]) -> None:
    value = full(cls)
    assert shown(pickle.loads(pickle.dumps(value))) == shown(value)


def test_every_public_value_is_among_these() -> None:
    tried: set[Any] = {*(value.__class__ for value in REPORTS), *FULL, FleetOutcome}
    values: set[Any] = {
        value
        for name in arker.__all__
        if inspect.isclass(value := getattr(arker, name)) and attrs.has(value) and not name.startswith("Async")
    }
    simple = {cls for cls in values - tried if cls.__module__.startswith("arker.models")}
    assert values - tried - simple == set()


def test_outcomes_of_fleets_lose_their_handle(server: ScriptedServer) -> None:
    client = make_client(server)
    outcome = FleetOutcome(index=3, item=[1], vm=client.vm("vm-1"), value={"a": 1}, seconds=0.1)
    twin = pickle.loads(pickle.dumps(outcome))
    assert (twin.index, twin.item, twin.vm, twin.value, twin.seconds) == (3, [1], None, {"a": 1}, 0.1)
    assert copy.copy(outcome).vm is outcome.vm
    failed = pickle.loads(pickle.dumps(FleetOutcome(index=0, item="x", vm=client.vm("vm-1"), error=ERROR)))
    assert failed.error.vm_id == "vm-1"
    with pytest.raises(arker.NotFoundError):
        failed.unwrap()


def test_an_error_is_pickled_although_its_value_cannot_be() -> None:
    error = InvalidArgumentError("source", threading.Lock(), "expected bytes")
    twin = pickle.loads(pickle.dumps(error))
    assert str(twin) == str(error)
    assert twin.value == repr(error.value)


def test_what_holds_connections_says_so(server: ScriptedServer, tmp_path: Path) -> None:
    client = make_client(server)
    vm = client.vm("vm-1")
    blocking = Arker("k", base_url=server.url, ledger=False)
    things: list[Any] = [
        client,
        vm,
        vm.attach_run("r"),
        vm.open_session(),
        vm.tunnel(80),
        vm.terminal(),
        vm.open_read("/a"),
        client.fork_many("ubuntu", 1),
        Emulator(),
        TransferBar(),
        blocking,
        blocking.vm("vm-1"),
        blocking.vm("vm-1").attach_run("r"),
        blocking.vm("vm-1").open_session(),
        blocking.vm("vm-1").tunnel(80),
        blocking.vm("vm-1").terminal(),
        blocking.vm("vm-1").open_read("/a"),
        blocking.fork_many("ubuntu", 1),
    ]
    for thing in things:
        with pytest.raises(TypeError) as caught:
            pickle.dumps(thing)
        name = type(thing).__name__
        assert str(caught.value).startswith(f"{name} objects cannot be pickled, since they hold connections")
    blocking.close()
