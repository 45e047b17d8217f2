"""Commands in a VM, in the foreground or in the background."""

from __future__ import annotations

import attrs

from arker._context import Place
from arker._protocol.calls import runs as run_calls
from arker._protocol.reader import is_usable_id
from arker._runs.follower import RunFollower, raise_unless_succeeded, reason_of_timeout
from arker._runs.posting import posting
from arker._runs.watch import RunWatch
from arker._tasks import clock
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import BadReplyError
from arker.models import BackgroundRunResult, CompletedRunResult, RunRequest, RunResult


async def run(
    place: Place, request: RunRequest, key: str, *, check: bool = False, deadline: float | None = None
) -> CompletedRunResult:
    """Run a command and wait for its result; see `AsyncVM.run`."""
    began = clock.now()
    return concluded(place, request, await RunWatch(place, request).send(key, deadline), began, check=check)


def concluded(
    place: Place, request: RunRequest, result: CompletedRunResult, began: float, *, check: bool
) -> CompletedRunResult:
    """Return the result of a run as its caller gets it.

    It says so if the run's ``timeout`` has killed it: generation 1 of the API gives no reason.

    Args:
        place: The VM.
        request: The run.
        result: Its result.
        began: When it was sent.
        check: Whether anything but success is an error.
    """
    if result.state == "failed":
        timeout = request.timeout
        if timeout is not None and not result.fail_reason and clock.now() - began >= timeout:
            result = attrs.evolve(result, fail_reason=reason_of_timeout(timeout))
        place.doubt.note()
    if check:
        raise_unless_succeeded(place, result, operation="vm.run")
    return result


async def post(place: Place, request: RunRequest, key: str, deadline: float | None) -> RunResult:
    """Post a run without waiting for its end, or only for as long as the request says."""
    probe = RunWatch(place, request).probe if request.time_to_background else None

    async def once(request: RunRequest, key: str) -> RunResult:
        return await place.send(run_calls.run(place, request, key, probe), progress=progress)

    progress = Progress("vm.run")
    with deadline_scope(deadline, progress):
        return await posting(request, key, once)


async def start(place: Place, request: RunRequest, key: str, deadline: float | None) -> RunFollower:
    """Start a run in the background; see `AsyncVM.start`."""
    return following(place, request, await post(place, request, key, deadline))


def following(place: Place, request: RunRequest, result: RunResult) -> RunFollower:
    """Return the follower of a run that was posted."""
    run_id = result.run_id
    if run_id is None or not is_usable_id(run_id):
        raise BadReplyError("the reply names no run_id", path="$.run_id", outcome="applied", operation="vm.run")
    tunnels = result.tunnels if isinstance(result, BackgroundRunResult) else ()
    return RunFollower(place, run_id, state=result.state, tunnels=tunnels, timeout=request.timeout)


__all__ = ["concluded", "following", "post", "run", "start"]
