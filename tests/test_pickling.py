"""Whatever a program gets and may send to another process can be pickled; what cannot be says so plainly."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any, Final, cast

import attrs
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

import arker
import arker_sync
from arker import FleetOutcome, InvalidArgumentError, TunnelResponse
from arker.emulator import Emulator
from arker.progress import TransferBar
from arker_sync import Arker
from tests.support.clients import make_client
from tests.support.samples import FULL, full
from tests.support.server import ScriptedServer

ROOT: Final = Path(__file__).parent.parent
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


def functions_of(package: ModuleType) -> Iterator[Any]:
    """Yield the methods that the classes of a package have, as a program names them, but those of the other package."""
    names = cast("list[str]", vars(package)["__all__"])
    for cls in (getattr(package, name) for name in names):
        if not inspect.isclass(cls) or isinstance(cls, GenericAlias):  # taken for a class on Python 3.10
            continue
        for name in dir(cls):
            function: Any = getattr(cls, name)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            if function.__module__.partition(".")[0] == package.__name__:
                yield function


READ: Final = """
import pickle, sys

for name, pickled in pickle.load(sys.stdin.buffer):
    function = pickle.loads(pickled)
    assert f"{function.__module__.partition('.')[0]}.{function.__qualname__}" == name, (name, function)
    print(name)
"""


@pytest.mark.parametrize("package", [arker, arker_sync], ids=lambda package: package.__name__)
def test_functions_can_be_sent_to_another_process(package: ModuleType) -> None:
    """Send them all to a process that has loaded none of them, as workers of multiprocessing and Dask have not."""
    functions = [(f"{package.__name__}.{each.__qualname__}", pickle.dumps(each)) for each in functions_of(package)]
    assert len(functions) > 100
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ],
        input=pickle.dumps(functions),
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert done.stdout.decode().split() == [name for name, _ in functions]


@pytest.mark.parametrize("module", ["arker._vm.runs", "arker_sync._vm.runs"])
def test_a_part_has_no_other_names(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Nothing'"):
        getattr(import_module(module), "Nothing")  # noqa: B009


def test_a_method_of_a_handle_says_what_to_send_instead(server: ScriptedServer) -> None:
    vm = make_client(server).vm("vm-1")
    with pytest.raises(TypeError, match=r"AsyncVM objects cannot be pickled.*make a client of its own"):
        pickle.dumps(vm.run)


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
