"""Commands in a VM with all that a caller may ask for beside them: see `AsyncVM.run` and `AsyncVM.start`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from arker import _commands as parts
from arker._commands.options import check_effect
from arker._commands.overlap import Overlaps
from arker._protocol.identifiers import idempotency_key_or_new
from arker._runs import commands
from arker._runs.watch import RunWatch
from arker._tasks import clock
from arker._transport.attempts import deadline_scope
from arker.errors import InvalidArgumentError

if TYPE_CHECKING:
    from arker._commands.options import Options
    from arker._context import Place
    from arker._runs.follower import RunFollower
    from arker.models import CompletedRunResult, RunRequest, RunResult

_SHORT = 64 * 1024
"""Characters of a command that every server takes in one line."""


async def run(
    place: Place,
    request: RunRequest,
    idempotency_key: str | None,
    *,
    options: Options | None = None,
    check: bool = False,
    deadline: float | None = None,
) -> CompletedRunResult:
    """Run a command and wait for its result.

    Args:
        place: The VM.
        request: The run, in the foreground.
        idempotency_key: The caller's key, with which the same request may come again.
        options: What it gets; None for nothing.
        check: Whether anything but success is an error.
        deadline: Seconds for all of it.
    """
    key, given = idempotency_key_or_new(idempotency_key), idempotency_key is not None
    turn = place.context.kept(Overlaps).enter(place, request, given=given)
    began = clock.now()
    if options is None and turn is not True and len(request.command) <= _SHORT:
        try:
            result = await RunWatch(place, request).send(key, deadline)
            result = commands.concluded(place, request, result, began, check=check)
        except BaseException as error:
            if turn is not False:
                turn.failed(error)
            raise
        if turn is not False:
            turn.done()
        return result
    command = parts.command.Command(place, request, key, options, turn, given=given)
    with deadline_scope(deadline, command.progress):
        result = await command.result()
    return commands.concluded(place, request, result, began, check=check)


async def start(
    place: Place,
    request: RunRequest,
    idempotency_key: str | None,
    *,
    options: Options | None = None,
    deadline: float | None = None,
) -> RunFollower:
    """Start a command in the background; the arguments are those of `run`."""
    key, given = idempotency_key_or_new(idempotency_key), idempotency_key is not None
    turn = place.context.kept(Overlaps).enter(place, request, given=given)
    command = parts.command.Command(place, request, key, options, turn, given=given)
    with deadline_scope(deadline, command.progress):
        follower = commands.following(place, request, await command.begun())
    follower.refuse, follower.when_ended, follower.stdin = command.refuse, command.done, command.stdin
    follower.shown = command.shown
    return follower


def run_or_post(
    place: Place,
    request: RunRequest,
    idempotency_key: str | None,
    *,
    options: Options | None,
    check: bool,
    deadline: float | None,
) -> Coroutine[Any, Any, RunResult]:
    """Run a command and wait for its result, unless the request is for one in the background.

    The arguments are those of `run`. What only a call that waits can do is refused for the others.
    """
    check_effect(request, options)
    if not request.background and request.time_to_background is None:
        return run(place, request, idempotency_key, options=options, check=check, deadline=deadline)
    if check:
        raise InvalidArgumentError("check", check, "a run in the background has no result to check yet")
    if options is not None and options.follows:
        argument = "background" if request.background else "time_to_background"
        expected = "on_stdout, on_stderr and on_cancel need a call that waits"
        raise InvalidArgumentError(argument, getattr(request, argument), expected)
    return post(place, request, idempotency_key, options=options, deadline=deadline)


async def post(
    place: Place,
    request: RunRequest,
    idempotency_key: str | None,
    *,
    options: Options | None = None,
    deadline: float | None = None,
) -> RunResult:
    """Post a command without waiting for its end; the arguments are those of `run`."""
    key, given = idempotency_key_or_new(idempotency_key), idempotency_key is not None
    turn = place.context.kept(Overlaps).enter(place, request, given=given)
    command = parts.command.Command(place, request, key, options, turn, given=given)
    with deadline_scope(deadline, command.progress):
        return await command.begun()


__all__ = ["run", "run_or_post", "start"]
