"""The blocking surface speaks of itself: neither its texts nor its errors tell a caller to await something."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import arker
import arker_sync
from arker import ArkerError
from arker_sync import VM, Arker

ROOT = Path(__file__).parents[2]
FOREIGN = re.compile(r"\basync (?:with|for|def|context)|\bawait|\baclose\b|\bcoroutine|\btasks?\b|\bAsync[A-Z]\w+")
KNOWN = {"`arker.AsyncArker`"}
"""What the blocking client itself tells to use inside of an event loop."""


def public(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    yield cls.__name__, cls
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        if not name.startswith("_") or name in {"__init__", "__enter__", "__exit__"}:
            yield f"{cls.__name__}.{name}", getattr(member, "__func__", member)


def foreign_words(text: str) -> list[str]:
    for known in KNOWN:
        text = text.replace(known, "")
    return FOREIGN.findall(text)


def test_its_docstrings_have_no_word_of_the_other_surface() -> None:
    own = [cls for name in arker_sync.__all__ if getattr(arker, name, None) is not (cls := getattr(arker_sync, name))]
    found = {
        where: words
        for cls in own
        if inspect.isclass(cls)
        for where, thing in public(cls)
        if (words := foreign_words(inspect.getdoc(thing) or ""))
    }
    assert found == {}


OF_ONE = ("expected a coroutine function: it is awaited", " takes `async with`", " takes `with`", "use `async for`")
"""Words of messages that only one surface's callers see."""


def surface() -> set[Path]:
    """Return the files whose errors reach callers of either surface."""
    package = ROOT / "arker"
    # What integrations say is worded for their frameworks.
    others = {"emulator", "integrations"}
    return {path for path in package.rglob("*.py") if others.isdisjoint(path.relative_to(package).parts)}


def test_no_message_that_both_surfaces_share_is_worded_for_one() -> None:
    for path in sorted(surface()):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                text = " ".join(
                    each.value
                    for each in ast.walk(node.exc)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                )
                allowed = any(words in text for words in OF_ONE)
                assert allowed or not foreign_words(text), f"{path.name}:{node.lineno}: {text}"


def used_wrongly(vm: VM) -> list[Callable[[], object]]:
    client: Any = vm
    return [
        lambda: next(iter(vm.open_read("/a"))),
        lambda: vm.open_read("/a").read(),
        lambda: vm.open_read("/a").size,
        lambda: vm.open_session().id,
        lambda: vm.open_session().run("true"),
        lambda: vm.tunnel(80).url,
        lambda: vm.tunnel(80).request("GET", "/"),
        lambda: vm.upload(client, "/a"),
        lambda: vm.upload(7, "/a"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ]


def test_errors_of_things_used_wrongly(blocking: Arker) -> None:
    with blocking.fork("ubuntu") as vm:
        calls = used_wrongly(vm)
        wrong: Any = 7
        calls += [
            lambda: blocking.fork(wrong),
            lambda: blocking.fork_many(wrong, 1),
            lambda: list(blocking.fork_many("ubuntu", 1).map(lambda _vm, item: item, [1])),
            lambda: blocking.fork_many("ubuntu", 1).run("true"),
            lambda: vm.upload(b"", "/a", progress=wrong),
        ]
        with blocking.fork_many("ubuntu", 1) as fleet:
            calls += [lambda: fleet.map(wrong, [1]), lambda: fleet.map(lambda _vm, item: item, wrong)]
            for number, call in enumerate(calls):
                with pytest.raises(ArkerError) as caught:
                    call()
                assert not foreign_words(str(caught.value)), (number, str(caught.value))
