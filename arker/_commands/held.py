"""A run that is known by its id while it is waited for, so that its output can be followed and it can be killed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from arker._basics.guidance import CLOSED
from arker._protocol.calls import runs as run_calls
from arker._protocol.reader import is_usable_id
from arker._runs import cancelling
from arker._runs.follower import RunFollower
from arker._runs.output import RunOutput
from arker._runs.poll import SHARE, Planner, has_ended
from arker._runs.posting import posting
from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up, end
from arker._tasks.running_loop import running_loop
from arker.errors import ArkerError, ConfigurationError, NotFoundError
from arker.models import CompletedRunResult

if TYPE_CHECKING:
    from arker._commands.options import Options
    from arker._commands.sinks import Sink
    from arker._context import Place
    from arker._transport.attempts import Progress
    from arker.models import Run, RunRequest, RunResult

logger = logging.getLogger("arker")

_EAGER: Final = 0.3
"""Seconds in which the end of a short run is looked for with next to no pause, by reading it whole."""
_SHORTEST: Final = 0.002
_SMALL: Final = 64 * 1024
"""Bytes of output that may be read again and again in that time."""


class HeldRun:
    """One run in the background, from its post to its result.

    Attributes:
        ended: Whether it is known to have ended.
    """

    def __init__(
        self,
        place: Place,
        request: RunRequest,
        key: str,
        progress: Progress,
        shown: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            place: The VM.
            request: The run, in the background.
            key: Its idempotency key.
            progress: The state of the caller's operation.
            shown: Makes of standard error what its taker sees.
        """
        self._place = place
        self._shown = shown
        self._request = request
        self._key = key
        self._progress = progress
        self._closing: asyncio.Future[None] = running_loop().create_future()
        self._posting: asyncio.Task[RunResult] | None = None
        self._last: Run | None = None
        self.ended = False

    # --- to its result --------------------------------------------------------------------------------------------

    async def result(self, options: Options) -> CompletedRunResult:
        """Post the run, and wait for its result.

        When the caller is cancelled, or anything else fails, the run is killed before that goes on, if it is to be.
        """
        if not options.kill:
            return await self._result(options)
        # Only the reply has the id: a client that is being closed waits for it.
        self._progress.makes = True
        waiting = running_loop().create_task(self._result(options))
        ends: set[asyncio.Future[Any]] = {waiting, self._closing}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            raise self._progress.complete(ConfigurationError(CLOSED))
        except BaseException:
            await end(waiting)
            if not self.ended:
                await clean_up(self._kill())
            raise
        finally:
            del waiting, ends  # what it failed with stays there, and has a traceback with this frame

    def close(self) -> None:
        """End the wait of `result`, since the client is being closed."""
        if not self._closing.done():
            self._closing.set_result(None)

    async def _result(self, options: Options) -> CompletedRunResult:
        began = clock.now()
        posted = await self.post()
        if isinstance(posted, CompletedRunResult):
            self.ended = True
            await _take(options.stdout, posted.stdout)
            await _take(options.stderr, posted.stderr if self._shown is None else self._shown(posted.stderr))
            return posted
        follower = RunFollower(self._place, posted.run_id, state=posted.state, tunnels=posted.tunnels)
        follower.shown = self._shown
        try:
            if options.stdout is None and options.stderr is None:
                run = await self._wait(follower, began)
            else:
                run = await self._watch(follower, began, options)
        except ArkerError as error:
            # The run was started, whatever the questions returned.
            raise self._progress.complete(error) from None
        return follower.result_of(run, "vm.run", check=False)

    async def post(self) -> RunResult:
        """Post the run, in a task of its own."""

        async def once(request: RunRequest, key: str) -> RunResult:
            progress = self._progress
            posted = await self._place.send(run_calls.run(self._place, request, key), progress=progress)
            # Noted at once: the deadline may end the caller's wait before it has the reply.
            progress.outcome, progress.run_id = "applied", posted.run_id
            return posted

        self._posting = running_loop().create_task(posting(self._request, self._key, once))
        # A request that was sent is not taken back by the end of its connection.
        return await asyncio.shield(self._posting)

    async def _wait(self, follower: RunFollower, began: float) -> Run:
        while (passed := clock.now() - began) < _EAGER:
            run = await follower.read()
            if has_ended(run):
                self.ended = True
                return run
            if len(run.stdout) + len(run.stderr) > _SMALL:
                break
            await clock.sleep(max(_SHORTEST, passed * SHARE))
        run = await follower.wait()
        self.ended = True
        return run

    async def _watch(self, follower: RunFollower, began: float, options: Options) -> Run:
        async def read() -> tuple[Run, bool]:
            run = self._last = await follower.read()
            self.ended = has_ended(run)
            return follower.as_shown(run), self.ended

        sinks = {"stdout": options.stdout, "stderr": options.stderr}
        output = RunOutput(follower.ask_whether_ended, read, Planner(began), follower.progress("vm.run"), None)
        async for chunk in output:
            await _take(sinks[chunk.stream], chunk.data, final=False)
        for sink in sinks.values():
            await _take(sink, b"")
        assert self._last is not None
        return self._last

    # --- to its end -----------------------------------------------------------------------------------------------

    async def drop(self) -> None:
        """End the post if it is still going on."""
        posting, self._posting = self._posting, None  # what it failed with has a traceback that leads here
        if posting is not None and not posting.done():
            await end(posting)

    async def settle(self) -> bool:
        """Wait until it is known whether the server has taken the run; return whether it may have. Bounded."""
        task, progress = self._posting, self._progress
        if task is None:
            return False
        if not task.done() and not progress.may_have_begun:
            await end(task)
            return False
        progress.abandoned = True
        await clock.wait({task}, hurry.bound(CLEANUP_SECONDS))
        await end(task)
        if task.cancelled():
            return progress.may_have_begun
        error = task.exception()
        return error is None or not isinstance(error, ArkerError) or error.outcome != "not_started"

    async def _kill(self) -> None:
        """Kill the run with all that it has started. Log a warning if it may go on."""
        place, progress = self._place, self._progress
        problem: object = f"not done within {CLEANUP_SECONDS:g} s"
        with place.context.cleaning_up(), clock.move_on_after(hurry.bound(CLEANUP_SECONDS)):
            try:
                if not await self.settle():
                    self.ended = True
                    return
                run_id = self._run_id()
                if run_id is not None:
                    await self._cancel(run_id)
                    self.ended = True
                    progress.outcome, progress.in_flight, progress.run_id = "applied", False, run_id
                    return
                problem = "the server's answer did not name it"
            except ArkerError as error:
                if isinstance(error, NotFoundError):
                    self.ended = True  # it is no longer there, or its VM is not
                    return
                problem = error
            except asyncio.CancelledError:
                if not hurry.asked():
                    raise
        what = f"a run (key {self._key}) in VM {place.redact(place.vm_id)}"
        if hurry.asked():
            hurry.left_behind(what)
        else:
            logger.warning("%s was to end with its caller, and may go on: %s", what, problem)

    def _run_id(self) -> str | None:
        task = self._posting
        if task is None or task.cancelled() or task.exception() is not None:
            return None
        run_id = task.result().run_id
        return run_id if run_id is not None and is_usable_id(run_id) else None

    async def _cancel(self, run_id: str) -> None:
        answer = await cancelling.cancel(self._place, run_id, of_any_server=True)
        if not answer.cancelled:
            logger.debug("the run %s had ended before it was cancelled", self._place.redact(run_id))


async def _take(sink: Sink | None, data: bytes, *, final: bool = True) -> None:
    if sink is not None:
        await sink.take(data, final=final)


__all__ = ["HeldRun"]
