"""What is told to those who use arguments that they know from elsewhere."""

from __future__ import annotations

import inspect
import re
from typing import Any

import attrs
import pytest

import arker
import arker_sync
from arker._basics.arguments import ARGUMENTS, LOCAL
from arker.emulator import EmulatorOptions

CLASSES: dict[str, Any] = {
    "AsyncArker": arker.AsyncArker,
    "Arker": arker_sync.Arker,
    "RetryPolicy": arker.RetryPolicy,
    "HttpTimeouts": arker.HttpTimeouts,
}
ELSEWHERE = {"the", "deadline", "AsyncArker"}
"""First words of advice that is no argument of the class itself."""


@pytest.mark.parametrize(
    ("name", "given", "use"), [(n, g, u) for n, told in ARGUMENTS.items() for g, u in told.items()]
)
def test_arguments_from_elsewhere(name: str, given: str, use: str) -> None:
    cls = CLASSES[name]
    accepted = inspect.signature(cls).parameters
    assert given not in accepted
    first = re.match(r"\w+", use)
    assert first is not None
    assert first[0] in {*accepted, *ELSEWHERE}
    with pytest.raises(TypeError) as caught:
        cls(**{given: "x"})
    assert str(caught.value) == f"{name}.__init__() got an unexpected keyword argument {given!r}; use {use}"


@pytest.mark.parametrize("given", LOCAL)
@pytest.mark.parametrize("cls", [arker.AsyncArker, arker_sync.Arker])
def test_arguments_from_elsewhere_where_a_backend_is_started(cls: Any, given: str) -> None:
    options = {field.name for field in attrs.fields(EmulatorOptions)}
    assert given not in {*inspect.signature(cls.local).parameters, *options}
    with pytest.raises(TypeError) as caught:
        cls.local(**{given: "x"})
    assert str(caught.value) == f"local() got an unexpected keyword argument {given!r}; use {LOCAL[given]}"


def test_a_session_where_a_backend_is_started_for_a_blocking_client() -> None:
    with pytest.raises(TypeError) as caught:
        arker_sync.Arker.local(session=object())
    use = "use AsyncArker: a session belongs to one event loop"
    assert str(caught.value) == f"local() got an unexpected keyword argument 'session'; {use}"


def test_docstrings_of_the_blocking_client_tell_of_no_session() -> None:
    for cls in (arker.AsyncArker, arker_sync.Arker):
        told = ["session: A" in (inspect.getdoc(each) or "") for each in (cls, cls.local)]
        assert told == [cls is arker.AsyncArker] * 2


def test_other_arguments_are_left_to_python() -> None:
    for cls in CLASSES.values():
        with pytest.raises(
            TypeError, match=rf"{cls.__name__}\.__init__\(\) got an unexpected keyword argument 'unheard'"
        ):
            cls(unheard=1)


def test_a_class_of_one_s_own_may_have_them() -> None:
    class Mine(arker.AsyncArker):
        def __init__(self, *, proxy: str) -> None:
            super().__init__("key", region="us-west-2")
            self.proxy = proxy

    class Arker(arker_sync.Arker):
        def __init__(self, *, proxy: str) -> None:
            super().__init__("key", region="us-west-2")
            self.proxy = proxy

    assert Mine(proxy="p").proxy == "p"
    with Arker(proxy="p") as blocking:
        assert blocking.proxy == "p"
