"""What is told to those who use names, and kinds of blocks, that they know from elsewhere."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

import attrs
import pytest

import arker
import arker_sync
from arker._basics.guesses import ELSEWHERE
from arker._basics.guidance import INSTEAD
from arker.emulator import Emulator

pytestmark = pytest.mark.anyio

CLASSES: dict[str, list[type]] = {
    "AsyncArker": [arker.AsyncArker],
    "Arker": [arker.AsyncArker, arker_sync.Arker],
    "VM": [arker.AsyncVM, arker_sync.VM],
    "Files": [arker.AsyncFiles, arker_sync.Files],
    "AsyncRun": [arker.AsyncRun],
    "RunHandle": [arker_sync.RunHandle],
    "AsyncSession": [arker.AsyncSession],
    "SessionHandle": [arker_sync.SessionHandle],
    "AsyncTunnel": [arker.AsyncTunnel],
    "TunnelHandle": [arker_sync.TunnelHandle],
    "Fleet": [arker.AsyncFleet, arker_sync.Fleet],
    "AsyncRemoteFile": [arker.AsyncRemoteFile],
    "AsyncReadStream": [arker.AsyncReadStream],
    "AsyncItems": [arker.AsyncItems],
    "Items": [arker_sync.Items],
    "Terminal": [arker.AsyncTerminal, arker_sync.Terminal],
    "Emulator": [Emulator],
    "CompletedRunResult": [arker.models.CompletedRunResult],
    "BackgroundRunResult": [arker.models.BackgroundRunResult],
    "RunSummary": [arker.models.RunSummary, arker.models.Run],
    "Vm": [arker.models.Vm],
    "Session": [arker.models.Session],
    "Tunnel": [arker.models.Tunnel],
    "Filesystem": [arker.models.Filesystem],
    "RunFailedError": [arker.RunFailedError],
    "FileStat": [arker.FileStat],
    "FileEntry": [arker.FileEntry],
    "FleetOutcome": [arker.FleetOutcome],
    "TunnelResponse": [arker.TunnelResponse],
}


def clients() -> list[Any]:
    return [arker.AsyncArker("key", region="us-west-2"), arker_sync.Arker("key", region="us-west-2")]


@pytest.mark.parametrize(("name", "given", "use"), [(n, g, u) for n, told in INSTEAD.items() for g, u in told.items()])
def test_what_is_named_is_there_and_what_is_misremembered_is_not(name: str, given: str, use: str) -> None:
    first = re.match(r"\w+", use)
    assert first is not None
    for cls in CLASSES[name]:
        documented = f"    {first[0]}: " in (cls.__doc__ or "")  # what an error's initializer sets
        assert hasattr(cls, first[0]) or documented, (cls, use)
        assert not hasattr(cls, given), (cls, given)


def test_the_methods_are_there_that_records_are_for() -> None:
    told = " ".join(
        use
        for name in ("BackgroundRunResult", "Vm", "Session", "Tunnel", "Filesystem")
        for use in INSTEAD[name].values()
    )
    for cls, methods in [
        (arker.AsyncArker, ["vm", "iter_vms", "delete_filesystem"]),
        (arker.AsyncVM, ["attach_run", "run", "start", "tunnel", "delete_session", "delete_tunnel"]),
    ]:
        for method in methods:
            assert hasattr(cls, method)
            assert re.search(rf"\b{method}\b", told)


PACKAGES: dict[str, ModuleType] = {"arker": arker, "arker_sync": arker_sync}


@pytest.mark.parametrize("package", PACKAGES)
def test_names_that_packages_do_not_have(package: str) -> None:
    """What is named instead is there."""
    module = PACKAGES[package]
    for name, use in ELSEWHERE[package].items():
        assert name not in dir(module)
        assert not hasattr(module, name)
        first = re.match(r"[\w.]+", use)
        assert first is not None
        home, _, last = first[0].rpartition(".")
        assert hasattr(import_module(home) if home else module, last), use
        if use.endswith("whose method it is"):
            assert hasattr(arker_sync.Arker, name) or name in INSTEAD["Arker"]


@pytest.mark.parametrize(
    ("package", "name", "use"),
    [
        ("arker", "Arker", "arker_sync.Arker, which is blocking, or AsyncArker"),
        ("arker", "RunHandle", "arker_sync.RunHandle, which is blocking, or AsyncRun"),
        ("arker", "Sandbox", "AsyncArker, whose fork gives an AsyncVM"),
        ("arker", "CalledProcessError", "RunFailedError"),
        ("arker_sync", "AsyncArker", "arker.AsyncArker, in a coroutine, or Arker"),
        ("arker_sync", "AsyncRun", "arker.AsyncRun, in a coroutine, or RunHandle"),
        ("arker_sync", "Emulator", "arker.emulator.Emulator"),
    ],
)
def test_a_name_that_a_package_does_not_have(package: str, name: str, use: str) -> None:
    with pytest.raises(ImportError) as caught:
        exec(f"from {package} import ArkerError, {name}")
    assert str(caught.value) == f"cannot import name {name!r} from {package!r}; use {use}"
    with pytest.raises(AttributeError) as looked_up:
        getattr(PACKAGES[package], name)
    assert str(looked_up.value) == f"module {package!r} has no attribute {name!r}; use {use}"
    assert getattr(PACKAGES[package], name, None) is None


@pytest.mark.parametrize("package", PACKAGES)
def test_each_class_of_the_other_package_is_found(package: str) -> None:
    here, there = PACKAGES[package], PACKAGES["arker_sync" if package == "arker" else "arker"]
    for name in set(there.__all__) - set(here.__all__):
        with pytest.raises(AttributeError, match=rf"; use {there.__name__}\.{name}, .* or \w+$") as caught:
            getattr(here, name)
        assert str(caught.value).rpartition(" ")[2] in here.__all__


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(ImportError, match=r"^cannot import name 'Unheard' from 'arker' \("):
        exec("from arker import Unheard")
    with pytest.raises(AttributeError, match=r"^module 'arker' has no attribute 'Unheard'$"):
        _ = arker.Unheard  # pyright: ignore


def test_names_from_elsewhere() -> None:
    asyncio_client, blocking_client = clients()
    result = arker.models.CompletedRunResult(run_id="r", stdout=b"", stderr=b"", exit_code=0)
    failed = arker.RunFailedError(attrs.evolve(result, exit_code=1, stdout=b"out", stderr=b"\xff"))
    assert (failed.stdout_text, failed.stderr_text) == ("out", "\ufffd")
    stat = arker.FileStat(kind="file", size=1, mode=0o644, uid=0, gid=0, links=1)
    entry = arker.FileEntry(name="f", path="/f", stat=stat)
    outcome = arker.FleetOutcome[None, int, int](index=0, item=1, vm=None)
    response = arker.TunnelResponse(204, {}, b"")
    with Emulator() as emulator:
        for value, name, told in [
            (asyncio_client, "create", "'AsyncArker' object has no attribute 'create'; use fork"),
            (asyncio_client, "close", "'AsyncArker' object has no attribute 'close'; use aclose"),
            (
                asyncio_client.vm("a"),
                "pause",
                "'AsyncVM' object has no attribute 'pause'; use delete, after snapshot if its files are needed again: "
                "fork what that gives",
            ),
            (asyncio_client.vm("a"), "exec", "'AsyncVM' object has no attribute 'exec'; use run or start"),
            (blocking_client, "create", "'Arker' object has no attribute 'create'; use fork"),
            (blocking_client.vm("a"), "kill", "'VM' object has no attribute 'kill'; use delete"),
            (
                asyncio_client.vm("a").terminal(),
                "run",
                "'AsyncTerminal' object has no attribute 'run'; use write",
            ),
            (
                blocking_client.vm("a").terminal(),
                "recv",
                "'Terminal' object has no attribute 'recv'; use read, or iterate",
            ),
            (
                asyncio_client.vm("a").files,
                "write",
                "'AsyncFiles' object has no attribute 'write'; use write_text, or write_bytes",
            ),
            (
                asyncio_client.vm("a").attach_run("r"),
                "kill",
                "'AsyncRun' object has no attribute 'kill'; use cancel",
            ),
            (
                blocking_client.vm("a").attach_run("r"),
                "returncode",
                "'RunHandle' object has no attribute 'returncode'; use exit_code",
            ),
            (
                asyncio_client.vm("a").open_session(),
                "exec",
                "'AsyncSession' object has no attribute 'exec'; use run or start",
            ),
            (
                blocking_client.vm("a").tunnel(80),
                "host",
                "'TunnelHandle' object has no attribute 'host'; use url",
            ),
            (
                asyncio_client.vm("a").open_read("f"),
                "close",
                "'AsyncReadStream' object has no attribute 'close'; use aclose",
            ),
            (result, "returncode", "'CompletedRunResult' object has no attribute 'returncode'; use exit_code"),
            (emulator, "base_url", "'Emulator' object has no attribute 'base_url'; use url"),
            (asyncio_client, "unheard_of", "'AsyncArker' object has no attribute 'unheard_of'"),
            (failed, "returncode", "'RunFailedError' object has no attribute 'returncode'; use exit_code"),
            (stat, "st_size", "'FileStat' object has no attribute 'st_size'; use size"),
            (stat, "mtime", "'FileStat' object has no attribute 'mtime'; use mtime_ns"),
            (entry, "size", "'FileEntry' object has no attribute 'size'; use stat"),
            (outcome, "result", "'FleetOutcome' object has no attribute 'result'; use unwrap, or value"),
            (
                arker.models.Vm(vm_id="v"),
                "delete",
                "'Vm' object has no attribute 'delete'; use vm_id: vm(vm_id) of the client gives a handle that has it, "
                "and iter_vms gives such handles",
            ),
            (
                arker.models.RunSummary(run_id="r"),
                "wait",
                "'RunSummary' object has no attribute 'wait'; use run_id: attach_run(run_id) of the VM gives a handle "
                "that has it",
            ),
            (arker.models.Vm(vm_id="v"), "unheard_of", "'Vm' object has no attribute 'unheard_of'"),
            (response, "status_code", "'TunnelResponse' object has no attribute 'status_code'; use status"),
            (response, "unheard_of", "'TunnelResponse' object has no attribute 'unheard_of'"),
            (asyncio_client.vm("a"), "open", "'AsyncVM' object has no attribute 'open'; use files"),
            (failed, "unheard_of", "'RunFailedError' object has no attribute 'unheard_of'"),
            (result, "unheard_of", "'CompletedRunResult' object has no attribute 'unheard_of'"),
        ]:
            assert not hasattr(value, name)
            with pytest.raises(AttributeError) as caught:
                getattr(value, name)
            assert str(caught.value) == told
            assert (caught.value.name, caught.value.obj) == (name, value)
    blocking_client.close()


def test_a_property_that_fails_tells_its_own_error() -> None:
    class Mine(arker.AsyncArker):
        @property
        def broken(self) -> object:
            return object().inner  # type: ignore[attr-defined]  # pyright: ignore

    with pytest.raises(AttributeError, match="'object' object has no attribute 'inner'"):
        _ = Mine("key", region="us-west-2").broken


async def test_blocks_of_the_other_kind() -> None:
    asyncio_client, blocking_client = clients()
    vms = [asyncio_client.vm("a"), blocking_client.vm("a")]
    for value, told in [
        (asyncio_client, "AsyncArker takes `async with`, in a coroutine; `with` is for Arker of arker_sync"),
        (vms[0], "AsyncVM takes `async with`, in a coroutine; `with` is for VM of arker_sync"),
        *(
            (value, f"Async{name} takes `async with`, in a coroutine; `with` is for {twin} of arker_sync")
            for value, name, twin in [
                (vms[0].open_session(), "Session", "SessionHandle"),
                (vms[0].tunnel(80), "Tunnel", "TunnelHandle"),
                (vms[0].terminal(), "Terminal", "Terminal"),
                (vms[0].open_read("file"), "ReadStream", "ReadStream"),
                (vms[0].files.open("file"), "RemoteFile", "RemoteFile"),
                (vms[0].files.watch("."), "Watch", "Watch"),
                (asyncio_client.fork_many("ubuntu", 2), "Fleet", "Fleet"),
            ]
        ),
    ]:
        with pytest.raises(TypeError) as caught, value:
            pass
        assert str(caught.value) == told
    for value, name in [(blocking_client, "Arker"), (vms[1], "VM")]:
        with pytest.raises(TypeError) as caught:
            async with value:
                pass
        assert str(caught.value).startswith(f"{name} takes `with`; `async with` is for the asyncio client")
    blocking_client.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: arker.AsyncVM("vm-1"), "AsyncVM objects are not made by hand: AsyncArker.fork, vm(id)"),  # type: ignore[arg-type]  # pyright: ignore
        (
            lambda: arker_sync.VM("vm-1"),
            "VM objects are not made by hand: Arker.fork, vm(id) and get_vm(id) return them",
        ),
        (
            lambda: arker_sync.SessionHandle("s-1"),
            "SessionHandle objects are not made by hand: Arker and its VMs return them",
        ),
    ],
)
def test_handles_made_by_hand(make: Callable[[], object], told: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value).startswith(told)


def test_methods_bear_the_name_of_the_class_that_callers_know() -> None:
    for function, name in [
        (arker.AsyncArker.fork, "AsyncArker.fork"),
        (arker.AsyncVM.run, "AsyncVM.run"),
        (arker.AsyncFiles.read_text, "AsyncFiles.read_text"),
        (arker_sync.Arker.fork, "Arker.fork"),
        (arker_sync.VM.run, "VM.run"),
        (arker_sync.Files.read_text, "Files.read_text"),
    ]:
        assert function.__qualname__ == name

    class Mine(arker.AsyncVM):
        pass

    assert Mine.run.__qualname__ == "AsyncVM.run"
    with pytest.raises(TypeError, match=r"AsyncVM\.run\(\) got an unexpected keyword argument 'timeuot'"):
        clients()[0].vm("a").run("true", timeuot=3)


async def test_a_forgotten_await_names_the_method_that_was_called() -> None:
    asyncio_client, blocking_client = clients()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with suppress(AttributeError):
            asyncio_client.fork("ubuntu").run("true")
    assert "coroutine 'AsyncArker.fork' was never awaited" in [str(each.message) for each in caught]
    with pytest.raises(TypeError) as pages:
        list(asyncio_client.iter_vms())
    assert "`async for`" in str(pages.value)
    blocking_client.close()


async def test_permissions_written_as_text() -> None:
    with pytest.raises(
        arker.InvalidArgumentError, match="mode='755' is not accepted: expected permission bits, such as 0o755"
    ):
        await clients()[0].vm("a").files.chmod("file", "755")


async def test_text_where_bytes_are_written() -> None:
    text: Any = "text"
    with pytest.raises(arker.InvalidArgumentError, match="; write_text takes text"):
        await clients()[0].vm("a").files.write_bytes("file", text)
