"""Models made by the functions that are written for members which have come often, and forks by one request."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from arker import AsyncArker
from arker._client.vms import _plain  # pyright: ignore[reportPrivateUsage]
from arker._protocol.codec import codec
from arker._protocol.codec.converter import field_hook, fields_of, make_converter
from arker._protocol.codec.filling import _OFTEN, _SHAPES, _Filler  # pyright: ignore[reportPrivateUsage]
from arker._protocol.codec.hooks import Misfit
from arker.errors import InvalidArgumentError
from arker.models import Session, Vm

_VM: Final[dict[str, Any]] = {
    "vm_id": "vm-1",
    "name": None,
    "public": False,
    "state": "idle",
    "vcpu_count": 2,
    "network": {"type": "open"},
    "sessions": [{"session_id": "s-1", "session_idx": 3, "state": "idle", "cwd": "/root"}],
    "unknown": 1,
}


def _both(value: dict[str, Any]) -> list[object]:
    """Return what strict and lenient reading make of a value, or their complaints."""
    made: list[object] = []
    for read in (codec.structure, codec.structure_leniently):
        try:
            made.append(read(value, Vm))
        except Misfit as misfit:
            made.append((misfit.path, misfit.problem))
    return made


def _variants() -> list[dict[str, Any]]:
    wrong = [
        {**_VM, name: value} for name, value in (("vm_id", 7), ("vm_id", None), ("public", 1), ("vcpu_count", "2"))
    ]
    lists: list[Any] = [None, [], [{}], [{"session_id": "s", "session_idx": None, "state": "idle"}]]
    sessions = [{**_VM, "sessions": value} for value in lists]
    return [_VM, *wrong, *sessions, {**_VM, "network": None}, {**_VM, "name": "n"}, {**_VM, "state": None}]


def test_members_that_have_come_often_make_the_same_models() -> None:
    # Another order of the members is another set of them to the functions, which have not met it yet.
    first = [_both(dict(reversed(value.items()))) for value in _variants()]
    for _ in range(_OFTEN + 2):
        _both(_VM)
    for value, expected in zip(_variants(), first, strict=True):
        assert _both(value) == expected, value


def test_a_missing_id_is_told_however_often_it_is_missing() -> None:
    without = {name: value for name, value in _VM.items() if name != "vm_id"}
    for _ in range(_OFTEN + 5):
        assert _both(without) == [("$.vm_id", "is missing")] * 2


def test_a_function_is_written_for_members_that_come_often_and_for_few_sets_of_them() -> None:
    converter = make_converter()
    fields = {field.name: (field, field_hook(converter, field.type, field.default)) for field in fields_of(Session)}
    filler = _Filler(Session, fields)
    fill = filler.whole()
    usual = {"session_id": "s", "session_idx": 1, "state": "idle", "cwd": "/"}
    made = [fill(usual, Session) for _ in range(_OFTEN + 2)]
    assert set(filler.functions) == {tuple(usual)}
    assert made == [Session(session_id="s", session_idx=1, state="idle", cwd="/")] * len(made)
    for number in range(3 * _SHAPES):
        assert fill({**usual, f"more-{number}": 1}, Session) == made[0]
    assert len(filler.times) == _SHAPES


def test_forks_without_options_share_a_request() -> None:
    assert _plain("ubuntu", "ArkerHQ") is _plain("ubuntu", "ArkerHQ")
    assert _plain("ubuntu", "ArkerHQ") != _plain("ubuntu", None)


@pytest.mark.anyio
@pytest.mark.parametrize("argument", ["source_org_id", "source_vm_id", "source_vm_name"])
async def test_a_source_that_is_no_text_is_refused(argument: str) -> None:
    async with AsyncArker("k", base_url="http://127.0.0.1:1") as client:
        value: Any = ["x"]
        given: dict[str, Any] = (
            {"source_vm_name": "x", argument: value} if argument == "source_org_id" else {argument: value}
        )
        with pytest.raises(InvalidArgumentError, match=re.escape(argument)):
            await client.fork(**given)
