"""Ids and keys of the caller: none leads to another path, and none makes a header."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    ForbiddenError,
    InvalidArgumentError,
)
from tests.support.clients import make_client
from tests.support.server import ScriptedServer, error

pytestmark = pytest.mark.anyio

BENIGN: Final = "BENIGN7"


NO_IDS: Final = ["", " ", ".", "..", "a\0b", "\ud800"]


HOSTILE_IDS: Final = [
    "../../x",
    "/v1/fork",
    "a/../../b",
    "a/b?c#d",
    "?x=1",
    "#",
    "%2e%2e",
    "%2e%2e%2f",
    "%00",
    "..;/x",
    "\\..\\x",
    "a b",
    " .. ",
    "a\r\nX-Evil: 1",
    "a\tb\x7f\x1b[31m",
    "é/☃",
    "http://evil.example/",
    "//evil.example",
    "@evil.example",
    "x" * 2000,
]


OTHER_ARGUMENTS: Final[dict[str, Any]] = {
    "command": "x",
    "path": "f",
    "source": b"x",
    "target": io.BytesIO(),
    "files": [("f", "f")],
    "name": "n",
    "local": str(Path(__file__).parent / "typing"),
    "remote": "f",
    "filesystem_id": "fs",
    "vcpu_count": 1,
    "type": "self_hosted",
}


def is_id(name: str) -> bool:
    return name.endswith(("_id", "_key")) and name != "idempotency_key"


def required(function: Any) -> dict[str, Any]:
    """Return the required arguments of a method. One that is not listed here fails the test."""
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return {name: "other" if is_id(name) else OTHER_ARGUMENTS[name] for name in names if name != "self"}


def operations(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, function in inspect.getmembers(cls, asyncio.iscoroutinefunction):
        if not name.startswith("_") and name not in {"aclose", "keep_alive"}:  # which send nothing
            yield name, function


def ways_with_ids() -> Iterator[tuple[type[Any], str, str]]:
    """Return every argument of every public method that takes an id, and the id of a handle itself."""
    for cls in (AsyncArker, AsyncVM):
        for name, function in operations(cls):
            for argument in inspect.signature(function).parameters:
                if is_id(argument):
                    yield cls, name, argument
    for name, _ in operations(AsyncVM):
        yield AsyncVM, name, "id of the handle"


WAYS: Final = list(ways_with_ids())


OF_TODAY: Final = {
    *("update", "create_pty_ticket", "create_mount", "list_mounts", "delete_mount"),
    *("org_id", "pool_id", "api_key_id"),
}
"""Methods and arguments of generation 1."""


def test_ways_are_found() -> None:
    found = {(cls.__name__, name, argument) for cls, name, argument in WAYS}
    assert len(found) > 30
    assert found >= {
        ("AsyncArker", "get_vm", "vm_id"),
        ("AsyncArker", "delete_filesystem", "filesystem_id"),
        ("AsyncVM", "get_run", "run_id"),
        ("AsyncVM", "delete_tunnel", "tunnel_key"),
        ("AsyncVM", "delete_sync", "sync_id"),
        ("AsyncVM", "get_session", "id of the handle"),
    }


async def asked_for(
    server: ScriptedServer, client: AsyncArker, way: tuple[type[Any], str, str], identifier: str
) -> str:
    """Return the target of the request that a method sends with this id."""
    server.requests.clear()
    cls, name, argument = way
    handle = identifier if argument == "id of the handle" else "vm-1"
    target = client if cls is AsyncArker else client.vm(handle)
    function = getattr(target, name)
    arguments = required(getattr(cls, name))
    if argument != "id of the handle":
        arguments[argument] = identifier
    if name == "fork" and cls is AsyncArker and not {"source_vm_id", "source"} & set(arguments):
        arguments["source"] = "ubuntu"
    if name in ("resize", "update"):
        arguments["vcpu_count"] = 1
    if name == "update_pool":
        arguments["name"] = "n"
    if name == "upload_many":
        arguments["files"] = [(b"x", "f")]

    async def ask() -> None:
        result = await function(**arguments)
        if name.endswith("_many"):  # which tells what became of each file, and raises nothing
            raise result[0].error

    with pytest.raises(ForbiddenError) as caught:
        await ask()
    assert str(caught.value).isprintable()
    assert len(server.requests) == 1
    return server.last.target


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0].__name__}.{way[1]}({way[2]})")
async def test_no_id_leads_elsewhere(server: ScriptedServer, way: tuple[type[Any], str, str]) -> None:
    server.answer(error("forbidden", status=403))
    async with make_client(server, generation="1" if {*way[1:]} & OF_TODAY else "0.5") as client:
        await follow(server, client, way)


async def follow(server: ScriptedServer, client: AsyncArker, way: tuple[type[Any], str, str]) -> None:
    benign = await asked_for(server, client, way, BENIGN)
    for hostile in HOSTILE_IDS:
        got = await asked_for(server, client, way, hostile)
        # Whole and encoded, in the same place; or in the body, where it is text like any other.
        assert got == benign.replace(BENIGN, quote(hostile, safe=""))
        assert "X-Evil" not in server.last.headers
    for none in NO_IDS:
        in_path = benign.partition("?")[0].count(BENIGN)
        if in_path or not none.strip():
            with pytest.raises(InvalidArgumentError):
                await asked_for(server, client, way, none)
            assert not server.requests


def keyed() -> Iterator[tuple[type[Any], str]]:
    for cls in (AsyncArker, AsyncVM):
        for name, function in operations(cls):
            if "idempotency_key" in inspect.signature(function).parameters:
                yield cls, name


@pytest.mark.parametrize("way", list(keyed()), ids=lambda way: f"{way[0].__name__}.{way[1]}")
async def test_no_idempotency_key_makes_a_header(
    server: ScriptedServer, client: AsyncArker, way: tuple[type[Any], str]
) -> None:
    cls, name = way
    for key in ("a\nX-Evil: 1", "a\r\nX-Evil: 1", "a\rb", "a\0b", " a", "a ", "é", "", "x" * 65):
        arguments = {**required(getattr(cls, name)), "idempotency_key": key}
        if cls is AsyncArker:
            arguments["source"] = "ubuntu"
        with pytest.raises(InvalidArgumentError) as caught:
            await getattr(client if cls is AsyncArker else client.vm("v"), name)(**arguments)
        assert caught.value.argument == "idempotency_key"
    assert not server.requests
