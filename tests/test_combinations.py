"""Arguments that have no effect beside another one: they are refused before anything is sent, and none is ignored."""

from __future__ import annotations

import inspect
import io
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest

from arker import AsyncArker, AsyncVM, InvalidArgumentError
from arker.models import ForkRequest, PatchVmRequest, ResizeRequest, RunRequest
from tests.support.samples import completed
from tests.support.server import ScriptedServer, ok

pytestmark = pytest.mark.anyio

VALUES: Final[dict[str, Any]] = {
    "env": {"A": "b"},
    "cwd": "/srv",
    "input": b"text",
    "on_stdout": io.StringIO(),
    "on_stderr": io.StringIO(),
    "on_cancel": "kill",
    "background": True,
    "time_to_background": 5,
    "timeout": 5,
    "end_symbol": "auto",
    "vcpu_count": 1,
    "memory_mib": 512,
    "disk_mib": 512,
    "network": {},
    "acquire": "cpu",
    "release": "cpu",
    "signal": "INT",
    "stdin": True,
}
"""A value for each argument of a command that says how it runs."""
HARMLESS: Final = {
    *("session_id", "session_idx", "queueing_timeout", "idempotency_key", "check", "deadline", "retries", "progress"),
}
"""Arguments that say where and how often a request goes: they have their effect whatever it asks for."""
INSTEAD: Final = {"acquire", "release", "vcpu_count", "memory_mib", "disk_mib", "signal"}
"""Arguments that a request without a command may consist of."""


@pytest.fixture
async def method(
    server: ScriptedServer, client: AsyncArker, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[..., Any]]:
    """Return the method that a test names, of a server that is asked for nothing else."""
    noun, name = str(request.param).split(".")
    if noun == "session":
        server.script(ok({"session_id": "ses-1", "session_idx": 1, "state": "idle", "cwd": "/"}))
        async with client.vm("vm-1").open_session() as session:
            yield getattr(session, name)
            assert len(server.requests) == 1
            server.script(ok({"deleted": True}))
        return
    yield getattr(client.fork_many("ubuntu", 2) if noun == "fleet" else client.vm("vm-1"), name)
    assert not server.requests


RUN: Final = pytest.mark.parametrize("method", ["vm.run", "session.run", "fleet.run"], indirect=True)
START: Final = pytest.mark.parametrize("method", ["vm.start", "session.start"], indirect=True)


def options_of(method: Callable[..., Any]) -> list[str]:
    """Return the options of a method that takes a command. One that no list here has fails."""
    names = [name for name in inspect.signature(method).parameters if name != "command"]
    assert not set(names) - VALUES.keys() - HARMLESS, "say in this module what the argument does without a command"
    return [name for name in names if name in VALUES]


async def refused(method: Callable[..., Any], *given: Any, **options: Any) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        await method(*given, **options)
    return caught.value


@RUN
async def test_beside_a_signal(method: Callable[..., Any]) -> None:
    options = [option for option in options_of(method) if option != "signal"]
    assert len(options) > 10
    for option in options:
        error = await refused(method, "", signal="INT", **{option: VALUES[option]})
        assert error.argument == option, error
        assert "without signal='SIGINT'" in str(error)
    error = await refused(method, "echo ignored", signal="INT")
    assert error.argument == "command"
    assert "an empty one with signal='SIGINT'" in str(error)


@RUN
async def test_without_a_command(method: Callable[..., Any]) -> None:
    for option in set(options_of(method)) - INSTEAD:
        error = await refused(method, " ", release="cpu", **{option: VALUES[option]})
        assert error.argument == "command", error
        assert f"not blank with {option}=" in str(error)


@START
async def test_what_is_started_is_a_command(method: Callable[..., Any]) -> None:
    for option in INSTEAD & set(options_of(method)):
        assert (await refused(method, "", **{option: VALUES[option]})).argument == "command"


async def test_what_has_an_effect_is_sent(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(completed()), ok(completed()))
    await vm.run("", signal="INT", session_idx=1, idempotency_key="k", check=True, deadline=60)
    assert server.last.json == {"command": "", "signal": "SIGINT", "session_idx": 1}
    await vm.run("", acquire="cpu", release="disk", memory_mib=512)
    assert server.last.json == {"command": "", "acquire": "cpu", "release": "disk", "memory_mib": 512}


def untyped(method: Any) -> Any:
    """Return a method as a program has it that no type checker has looked at."""
    return method


OTHERS: Final[list[tuple[str, str, Callable[[AsyncVM], Any]]]] = [
    ("idle_timeout", "persist=False", lambda vm: vm.terminal(persist=False, idle_timeout=5)),
    ("encoding", "mode='rb'", lambda vm: vm.files.open("/f", "rb", encoding="latin-1")),
    ("errors", "mode='wb'", lambda vm: vm.files.open("/f", "wb", errors="replace")),
    ("parents", "mode='r'", lambda vm: vm.files.open("/f", parents=True)),
    ("permissions", "mode='rb'", lambda vm: vm.files.open("/f", "rb", permissions=0o600)),
    ("max_bytes", "data", lambda vm: untyped(vm.sync)("/f", b"x", max_bytes=5)),
    ("max_bytes", "data", lambda vm: untyped(vm.sync)("/f", b"x", max_bytes=None)),
    ("checksum", "data", lambda vm: untyped(vm.sync)("/f", checksum=False)),
]


@pytest.mark.parametrize(("argument", "other", "call"), OTHERS, ids=range(len(OTHERS)))
async def test_others(
    server: ScriptedServer, vm: AsyncVM, argument: str, other: str, call: Callable[[AsyncVM], Any]
) -> None:
    async def work() -> None:
        made = call(vm)
        if inspect.isawaitable(made):
            await made

    error = await refused(work)
    assert error.argument == argument
    assert other in str(error)
    assert not server.requests


@pytest.mark.parametrize("request_class", [ForkRequest, PatchVmRequest, ResizeRequest, RunRequest])
@pytest.mark.parametrize("value", [0, 256, 2**40, True, 1.0])
def test_a_number_of_cpus_that_no_server_takes(request_class: Any, value: Any) -> None:
    others: dict[str, Any] = {"command": "x"} if request_class is RunRequest else {}
    with pytest.raises(InvalidArgumentError) as caught:
        request_class(**others, vcpu_count=value)
    assert (caught.value.argument, caught.value.value) == ("vcpu_count", value)
    assert "an integer from 1 to 255" in str(caught.value)
    for possible in (1, 255):
        request_class(**others, vcpu_count=possible)


async def test_cpus_are_checked_before_anything_is_sent(
    server: ScriptedServer, client: AsyncArker, vm: AsyncVM
) -> None:
    for method, given in (
        (client.fork, ("ubuntu",)),
        (vm.fork, ()),
        (vm.resize, ()),
        (vm.update, ()),
        (vm.run, ("x",)),
        (vm.start, ("x",)),
    ):
        assert (await refused(method, *given, vcpu_count=256)).argument == "vcpu_count"
    with pytest.raises(InvalidArgumentError, match="from 1 to 255"):
        client.fork_many("ubuntu", 2, vcpu_count=256)
    assert not server.requests
