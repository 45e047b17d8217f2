"""Interrupts at each step that the main thread takes within a call: what the call makes is undone, a block is left."""

from __future__ import annotations

import inspect
import itertools
import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from arker_sync import Arker
from arker_sync._bridge.lease import Lease
from tests.support.length import times

BRIDGE = str(Path(inspect.getfile(Lease)).parent)


class Stop(KeyboardInterrupt):
    """Raised as Ctrl-C is, when a signal comes at that step."""


def guarded(function: Callable[..., object]) -> int:
    """Return the first line in a function's first `try`; before it, it only makes a list, and no signal is handled."""
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if line.strip() == "try:") + 1


GUARDED = {function.__name__: guarded(function) for function in (Lease.call, Lease.make)}


class Interrupting:
    """Raises `Stop` at a step, by its number, in the code that waits for the loop. That ends the tracing."""

    def __init__(self, step: int) -> None:
        self._left = step
        self.raised = False

    def __enter__(self) -> Interrupting:
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Callable[..., Any] | None:
        return self._stepped if frame.f_code.co_filename.startswith(BRIDGE) else None

    def _stepped(self, frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        # Between a block's last step and the call of its `__exit__` Python looks for no signals.
        if event == "line" and not text.startswith("with ") and frame.f_lineno > GUARDED.get(frame.f_code.co_name, 0):
            self._left -= 1
            if self._left < 0:
                self.raised = True
                raise Stop(f"at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return self._stepped


def steps(blocking: Arker, act: Callable[[int], Interrupting]) -> None:
    """Interrupt at one step after the other, until an act has no more; no VM may be left."""
    for step in itertools.count(0, times(1, suite=5)):
        interrupting = act(step)
        assert len(blocking.list_vms().vms) == 0, f"step {step} leaves a VM"
        if not interrupting.raised:
            assert step > 20
            return


def test_a_fork_that_is_interrupted_leaves_no_vm(blocking: Arker) -> None:
    def act(step: int) -> Interrupting:
        vm = None
        interrupting = Interrupting(step)
        try:
            with interrupting:
                vm = blocking.fork("ubuntu")
        except Stop:
            assert vm is None
        else:
            vm.delete()
        return interrupting

    steps(blocking, act)


@pytest.mark.parametrize("raising", [False, True], ids=["at its end", "by an interrupt"])
def test_a_block_that_is_left_leaves_no_vm(blocking: Arker, raising: bool) -> None:
    def act(step: int) -> Interrupting:
        vm = blocking.fork("ubuntu").__enter__()
        kind, error = (Stop, Stop("in the block")) if raising else (None, None)
        interrupting = Interrupting(step)
        try:
            with interrupting:
                vm.__exit__(kind, error, None)
        except Stop:
            pass
        return interrupting

    steps(blocking, act)


def test_a_block_that_is_entered_leaves_no_vm(blocking: Arker) -> None:
    def act(step: int) -> Interrupting:
        vm = blocking.fork("ubuntu")
        interrupting = Interrupting(step)
        try:
            with interrupting:
                vm.__enter__()
        except Stop:
            pass
        else:
            vm.__exit__(None, None, None)
        return interrupting

    steps(blocking, act)
