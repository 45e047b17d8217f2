"""The check during a foreground run of whether its VM still exists (contract, section 5).

A foreground run is silent until its command has ended, so silence says nothing: the VM may be gone, the reply may have
been lost, or the command may still be running. Only requests can distinguish these cases.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from arker._protocol.calls import runs as run_calls
from arker._protocol.calls import vms as vm_calls
from arker._protocol.request import ExchangeFailedError
from arker._runs.poll import ASK_SECONDS, has_ended
from arker._runs.posting import posting
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import ArkerError, NotFoundError, VMGoneError
from arker.models import CompletedRunResult

if TYPE_CHECKING:
    from arker._context import Place
    from arker.models import Run, RunRequest, RunSummary

_SURE: Final = 2
"""How often in a row the run must be found ended before its reply counts as lost: it may still arrive."""


class RunWatch:
    """A watch over one foreground run."""

    __slots__ = ("_asked", "_captured", "_ended", "_place", "_request", "_run_id")

    def __init__(self, place: Place, request: RunRequest) -> None:
        self._place = place
        self._request = request
        self._asked = 0
        self._ended = 0
        self._run_id: str | None = None
        self._captured: Run | None = None

    async def probe(self, moved: bool) -> None:
        """Check the VM and the run once.

        Args:
            moved: Whether bytes of the reply came meanwhile. A large one may take its time, and is not lost.

        Raises:
            VMGoneError: The VM is gone.
            ExchangeFailedError: The run has ended, so its reply was lost: the request has to be sent again.
        """
        if moved:
            self._ended = 0
            return
        self._asked += 1
        try:
            vm = await self._place.send(vm_calls.get_vm(self._place), deadline=ASK_SECONDS)
        except NotFoundError:
            raise self.gone() from None
        except ArkerError:
            return
        over = vm.state == "idle"
        # Reading the output takes the longer the more there is, so it is read ever more rarely. In a state that this
        # version does not know, the VM itself does not tell whether anything runs in it.
        if not over and (vm.state != "running" or self._asked & (self._asked - 1) == 0):
            try:
                over = await self._look()
            except ArkerError:
                pass
        self._ended = self._ended + 1 if over else 0
        if self._ended >= _SURE:
            self._ended = 0  # the next reply gets as much time to come
            raise ExchangeFailedError("the run is over, but its reply did not arrive", delivered=True)

    async def _look(self) -> bool:
        """Read the output so far, and return whether the run has ended."""
        if self._run_id is None:
            call = run_calls.list_runs(self._place, run_calls.RunsQuery(limit=1000))
            page = await self._place.send(call, deadline=ASK_SECONDS)
            fitting = [run for run in page.runs if not has_ended(run) and self._may_be_mine(run)]
            if not fitting and page.next_cursor is None and not page.misfits:
                return True
            # Only its reply tells the run's id, unless there is just one that it can be.
            if len(fitting) != 1 or not fitting[0].run_id or fitting[0].command is None:
                return False
            self._run_id = fitting[0].run_id
        call_ = run_calls.get_run(self._place, self._run_id)
        self._captured = await self._place.send(call_, deadline=ASK_SECONDS)
        return has_ended(self._captured)

    def _may_be_mine(self, run: RunSummary) -> bool:
        wanted = self._request.session_id
        return run.command in (None, self._request.command) and (wanted is None or run.session_id in (None, wanted))

    def send(
        self, key: str, deadline: float | None, progress: Progress | None = None
    ) -> Coroutine[Any, Any, CompletedRunResult]:
        """Run the command and wait for its result.

        Args:
            key: Its idempotency key.
            deadline: Seconds for all of it.
            progress: The state of the caller's operation, if the run is only a part of that.

        Raises:
            VMGoneError: The VM was deleted meanwhile.
        """
        progress = progress if progress is not None else Progress("vm.run")
        if deadline is None and not isinstance(self._request.timeout, float):
            return self._send(self._request, key, progress)  # as nearly always: no coroutine around the coroutine
        return self._send_within(deadline, key, progress)

    async def _send_within(self, deadline: float | None, key: str, progress: Progress) -> CompletedRunResult:
        with deadline_scope(deadline, progress):
            if not isinstance(self._request.timeout, float):
                return await self._send(self._request, key, progress)
            return await posting(self._request, key, partial(self._send, progress=progress))

    async def _send(self, request: RunRequest, key: str, progress: Progress) -> CompletedRunResult:
        call = run_calls.run(self._place, request, key, self.probe)
        try:
            result = await self._place.send(call, progress=progress)
            if isinstance(result, CompletedRunResult):
                return result
            # A server may bound how long it keeps a request waiting, and then lets the run go on in the background.
            progress.outcome, progress.run_id = "applied", result.run_id
            from arker._runs.follower import RunFollower  # few servers do so, and it brings outputs along

            follower = RunFollower(self._place, result.run_id, state=result.state)
        except VMGoneError:
            raise
        except NotFoundError as error:
            raise await self._explain(error, progress) from None
        try:
            return follower.result_of(await follower.wait(), "vm.run", check=False)
        except ArkerError as error:
            # The run was started, whatever the questions returned.
            raise progress.complete(error) from None

    async def _explain(self, error: NotFoundError, progress: Progress) -> ArkerError:
        """Return the error for a run that was not found. Its VM may be gone since the first attempt."""
        if progress.outcome == "not_started":
            return error
        try:
            await self._place.send(vm_calls.get_vm(self._place), deadline=ASK_SECONDS)
        except NotFoundError:
            return progress.complete(self.gone())
        except ArkerError:
            pass
        return error

    def gone(self) -> VMGoneError:
        captured = self._captured
        return VMGoneError(
            f"the VM {self._place.vm_id} has gone while a command was running in it",
            stdout=b"" if captured is None else captured.stdout,
            stderr=b"" if captured is None else captured.stderr,
            run_id=self._run_id,
            vm_id=self._place.vm_id,
        )


__all__ = ["RunWatch"]
