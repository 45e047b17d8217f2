"""The steps taken when this process forks and when it ends, in one written order.

The modules of the packages register their functions under the name of their step when they are loaded. The order of
loading does not matter: `ORDER` decides.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias, get_args

from attrs import frozen

from arker._basics.exit import at_exit

# Logging has functions of its own for forks. It is imported before ours are registered, so that it takes its locks when
# ours have waited for other threads, and has new ones when ours are called in a child.
logger = logging.getLogger("arker")

Step: TypeAlias = Literal[
    "blocking loop",
    "blocking clients",
    "blocking callbacks",
    "transports",
    "connections",
    "ledgers",
    "process locks",
    "embedded backends",
]
ORDER: Final[tuple[Step, ...]] = get_args(Step)
"""The steps, from the parts that give work to the parts that do it.

Before a fork: the parts that give work stop first, so that no new work reaches the parts that stop next. In the
parent they resume in reverse order. In a child: the loop first, whose generation tells everything that is made or
destroyed from then on that it is in another process. At exit: clients are closed, then the ledgers write what is left,
then the process gives up its locks.
"""


@frozen
class _Functions:
    before_fork: Callable[[], object] | None
    in_parent: Callable[[], object] | None
    in_child: Callable[[], object] | None
    at_exit: Callable[[], object] | None


_handed_in: Final[dict[Step, _Functions]] = {}
_kept: Final[list[object]] = []


def hand_in(
    step: Step,
    *,
    before_fork: Callable[[], object] | None = None,
    in_parent: Callable[[], object] | None = None,
    in_child: Callable[[], object] | None = None,
    at_exit: Callable[[], object] | None = None,
) -> None:
    """Register functions to be called in the order of their step. They replace the step's earlier functions.

    Args:
        step: Their place in `ORDER`.
        before_fork: Called before ``os.fork()``, in the thread that forks.
        in_parent: Called after it in the parent, in the same thread.
        in_child: Called after it in the child, which has this thread only.
        at_exit: Called when the interpreter ends.
    """
    _handed_in[step] = _Functions(before_fork, in_parent, in_child, at_exit)


def keep_in_child(thing: object) -> None:
    """Prevent the destruction of an object in a child of ``os.fork()``: closing it here would disturb the parent."""
    _kept.append(thing)


def lives(process: int) -> bool:
    """Return whether there is a process with this id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it may not be signalled
    return True


def _call(name: Literal["before_fork", "in_parent", "in_child", "at_exit"], order: Iterable[Step]) -> None:
    interrupt: BaseException | None = None
    for step in order:
        functions = _handed_in.get(step)
        function: Callable[[], object] | None = getattr(functions, name, None)
        if function is not None:
            try:
                function()
            except Exception:
                logger.exception("what %s do %s failed", step, name.replace("_", " "))
            except BaseException as error:  # Ctrl-C must not keep the rest from being done
                interrupt = error
    if interrupt is not None:
        raise interrupt


def _before_fork() -> None:
    _call("before_fork", ORDER)


def _in_parent() -> None:
    _call("in_parent", reversed(ORDER))


def _in_child() -> None:
    _call("in_child", ORDER)


def _at_exit() -> None:
    try:
        _call("at_exit", ORDER)
    finally:
        if _kept:
            # At its end the interpreter destroys the modules' objects, unless there is another reference to them.
            with contextlib.suppress(ImportError, AttributeError):  # without them nothing is destroyed at the end
                from ctypes import py_object, pythonapi  # needed at the end of such children only

                pythonapi.Py_IncRef(py_object(_kept))


at_exit(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)

__all__ = ["ORDER", "Step", "hand_in", "keep_in_child", "lives"]
