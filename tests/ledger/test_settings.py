"""Where the ledger is, by argument, environment and default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from arker import AsyncArker, InvalidArgumentError
from arker._config import ledger as ledger_setting
from arker.config import load_settings
from tests.support.secrets import API_KEY

HOME = Path(os.path.abspath(os.path.expanduser("~")))
BASE = {"ARKER_API_KEY": API_KEY, "ARKER_REGION": "us-west-2"}
XDG = {"XDG_STATE_HOME": "/xdg/state"}
DEFAULT = Path("/xdg/state/arker/ledger.sqlite3")


@pytest.mark.parametrize(
    ("argument", "environ", "expected"),
    [
        (None, {}, HOME / ".local/state/arker/ledger.sqlite3"),
        (None, {"XDG_STATE_HOME": "relative"}, HOME / ".local/state/arker/ledger.sqlite3"),
        (None, XDG, DEFAULT),
        (True, XDG, DEFAULT),
        ("on", XDG, DEFAULT),
        (False, XDG, None),
        ("off", XDG, None),
        (None, {**XDG, "ARKER_LEDGER": " OFF "}, None),
        (None, {**XDG, "ARKER_LEDGER": "0"}, None),
        (None, {**XDG, "ARKER_LEDGER": "false"}, None),
        (None, {**XDG, "ARKER_LEDGER": "no"}, None),
        (None, {**XDG, "ARKER_LEDGER": "None"}, None),
        (None, {**XDG, "ARKER_LEDGER": "on"}, DEFAULT),
        (None, {**XDG, "ARKER_LEDGER": "  "}, DEFAULT),
        (None, {**XDG, "ARKER_LEDGER": "/there/l.db"}, Path("/there/l.db")),
        (None, {"ARKER_LEDGER": "~/l.db"}, HOME / "l.db"),
        (True, {**XDG, "ARKER_LEDGER": "/there/l.db"}, Path("/there/l.db")),
        (True, {**XDG, "ARKER_LEDGER": "off"}, DEFAULT),
        (False, {"ARKER_LEDGER": "/there/l.db"}, None),
        ("/here/l.db", {"ARKER_LEDGER": "/there/l.db"}, Path("/here/l.db")),
        (Path("/here/l.db"), {"ARKER_LEDGER": "off"}, Path("/here/l.db")),
        ("l.db", {}, Path.cwd() / "l.db"),
    ],
)
def test_place(argument: Any, environ: dict[str, str], expected: Path | None) -> None:
    assert load_settings(environ={**BASE, **environ}, ledger=argument).ledger == expected


def test_a_user_without_a_home_is_told_once_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os.path, "expanduser", str)  # so it is without HOME and an entry in passwd
    monkeypatch.setattr(ledger_setting, "_warned_of_no_ledger", False)
    for environ in ({}, {"ARKER_LEDGER": "off"}, XDG):
        load_settings(environ={**BASE, **environ}, ledger=False)
    assert load_settings(environ={**BASE, "ARKER_LEDGER": "off"}).ledger is None
    assert load_settings(environ={**BASE, **XDG}).ledger == DEFAULT
    assert caplog.records == []
    assert load_settings(environ=BASE).ledger is None
    assert load_settings(environ=BASE, ledger=True).ledger is None
    (record,) = caplog.records
    assert "there is no ledger of forks, since this user has no home directory" in record.getMessage()
    with pytest.raises(InvalidArgumentError, match="home directory"):
        load_settings(environ=BASE, ledger="~/ledger.sqlite3")


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:8000/api", "HTTP://LocalHost:8000/api", "http://localhost/api", "http://[::1]:1/api"]
)
def test_for_an_embedded_backend_there_is_one_only_where_it_is_named(base_url: str) -> None:
    assert load_settings("k" * 8, base_url=base_url, environ=XDG).ledger is None
    assert load_settings("k" * 8, base_url=base_url, environ={**XDG, "ARKER_LEDGER": "on"}).ledger == DEFAULT
    assert load_settings("k" * 8, base_url=base_url, environ=XDG, ledger="/here/l.db").ledger == Path("/here/l.db")
    assert load_settings("k" * 8, base_url="https://localhost/api", environ=XDG).ledger == DEFAULT


@pytest.mark.parametrize("value", ["", " ", "a\0b", 7, b"/bytes", 0, '"off"', "'/path'"])
def test_what_is_no_place(value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        load_settings(environ=BASE, ledger=value)
    assert caught.value.argument == "ledger"


@pytest.mark.anyio
async def test_a_local_client_has_none() -> None:
    async with AsyncArker.local() as client:
        assert client.ledger is None


def test_these_tests_do_not_write_to_the_real_one(state_home: Path) -> None:
    place = AsyncArker(API_KEY, region="us-west-2").ledger
    assert place is not None
    assert state_home in place.parents
