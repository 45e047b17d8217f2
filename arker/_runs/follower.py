"""The follower of a background run, which sends small requests until the run has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import attrs

from arker import models
from arker._basics.moments import timestamp_of
from arker._context import Place
from arker._protocol.calls import runs as run_calls
from arker._protocol.calls import vms as vm_calls
from arker._protocol.pages import Pages, next_cursor
from arker._runs.poll import ASK_SECONDS, ENDED, has_ended, pause
from arker._tasks import clock
from arker._transport.attempts import Progress
from arker.errors import ArkerError, BadReplyError, NotFoundError, RunFailedError, VMGoneError
from arker.models import CompletedRunResult, Run, RunSummary

UNREADABLE: Final = 10
"""How many replies in a row may have neither the state of a run nor its end before following it ends."""
_LONGEST_DOUBT: Final = 8.0
"""The most seconds between two readings while a server says that the run has ended and then that it goes on."""


class Feed(Protocol):
    """The input of a run that comes by calls."""

    async def write(self, data: bytes) -> None:
        """Have the command read some bytes."""
        ...

    async def close(self) -> None:
        """End the input."""
        ...

    async def end(self, *, removed: bool) -> None:
        """Remove what is left of it, after the run's end; ``removed`` if the run has done that."""
        ...


class RunFollower:
    """The known state of a run, and the requests that update it.

    Attributes:
        place: The place of its VM.
        run_id: Its id.
        state: Its state when it was last read.
        data: The last reading of it, without its output.
        tunnels: The tunnels that it opened.
        timeout: The seconds after which the server kills it; None without a limit, and if this client does not know.
        first_of_session: The oldest run of its session that had not ended at the last request.
        refuse: Raises the error for a result that says why the command was not run; None if no result does.
        shown: Makes of standard error what a caller sees of it as it comes; None where that is the same.
        when_ended: Called when the run is first known to have ended.
        stdin: Its input, if that comes later and this client started it.
    """

    def __init__(
        self,
        place: Place,
        run_id: str,
        *,
        state: models.RunState | str | None = None,
        tunnels: tuple[models.Tunnel, ...] = (),
        timeout: float | None = None,
    ) -> None:
        self.place = place
        self.run_id = run_id
        self.state = state
        self.tunnels = tunnels
        self.timeout = timeout
        self.data: RunSummary | None = None
        self.first_of_session = run_id
        self.refuse: Callable[[CompletedRunResult], None] | None = None
        self.shown: Callable[[bytes], bytes] | None = None
        self.when_ended: Callable[[], object] | None = None
        self.stdin: Feed | None = None
        self._captured = (b"", b"")

    @property
    def ended(self) -> bool:
        """Whether the run is known to have ended."""
        return self.state in ENDED or (self.data is not None and has_ended(self.data))

    def progress(self, operation: str) -> Progress:
        """Make the progress record of an operation on the run."""
        return Progress(operation, vm_id=self.place.vm_id, run_id=self.run_id, redact=self.place.redact)

    async def wait(self) -> Run:
        """Wait until the run has ended. Only small requests are sent meanwhile."""
        began = clock.now()
        contradictions = 0
        while True:
            if self.ended or await self.ask_whether_ended():
                run = await self.read()
                if has_ended(run):
                    return run
                contradictions += 1  # the repeated request must not have the large reply
            await clock.sleep(min(_LONGEST_DOUBT, pause(clock.now() - began) * 2 ** min(contradictions, 5)))

    async def ask_whether_ended(self) -> bool:
        """Ask whether the run is among the running ones. The reply is small however long the output is."""

        async def page(cursor: str | None) -> tuple[tuple[RunSummary, ...], str | None]:
            # Older servers refuse the word, and do not use it.
            state = "pending,running" if self.state == "pending" else "running"
            query = run_calls.RunsQuery(cursor=cursor, limit=1000, state=state)
            found = await self.place.send(run_calls.list_runs(self.place, query))
            return found.runs, next_cursor(found)

        mine: RunSummary | None = None
        self.first_of_session = self.run_id
        try:
            async for run in Pages(page, None):
                if run.run_id == self.run_id:
                    mine = run
                elif mine is not None and run.session_id == mine.session_id and not has_ended(run):
                    self.first_of_session = run.run_id  # newest first
        except NotFoundError as error:
            raise await self._explain(error) from None
        except BadReplyError:
            return True  # the run itself may tell
        if mine is None:
            return True
        self._note(mine)
        return mine.state is None or has_ended(mine)

    async def read(self) -> Run:
        """Read the whole run, with its output."""
        run = await self._read_readable()
        self._captured = (run.stdout, run.stderr)
        self._note(run)
        self.tunnels = self.tunnels or run.tunnels
        return run

    async def _read_readable(self) -> Run:
        call = run_calls.get_run(self.place, self.run_id)
        began = clock.now()
        unreadable = 0
        while True:
            try:
                run = await self.place.send(call)
                if run.state is not None or has_ended(run):
                    return self._with_reason(run)
                problem = BadReplyError("the reply names no state of the run", path="$.state")
            except NotFoundError as error:
                raise await self._explain(error) from None
            except BadReplyError as error:
                problem = error
            unreadable += 1
            if unreadable == UNREADABLE:
                try:
                    raise self._unreadable(problem)
                finally:
                    del problem  # its traceback has this frame
            await clock.sleep(pause(clock.now() - began))

    def _with_reason(self, run: Run) -> Run:
        """Return a run that says so if its ``timeout`` has killed it. Generation 1 of the API need not give a reason.

        The times are those of the server's clock: the run may have been read long after its end.
        """
        if self.timeout is None or run.state != "failed" or run.fail_reason:
            return run
        if run.exit_code is not None and run.exit_code >= 0:
            return run  # it ended by itself
        started, completed = timestamp_of(run.started_at), timestamp_of(run.completed_at)
        if started is None or completed is None or completed - started < self.timeout:
            return run
        return attrs.evolve(run, fail_reason=reason_of_timeout(self.timeout))

    def _unreadable(self, problem: BadReplyError) -> BadReplyError:
        """Return the error for a run that cannot be followed, with its known state."""
        facts = {"run_id": self.place.redact(self.run_id), "vm_id": self.place.redact(self.place.vm_id)}
        problem.stdout, problem.stderr = self._captured
        problem.message = f"{UNREADABLE} replies in a row do not tell how the run goes on: {problem.message}"
        return problem.with_context(**facts)

    async def read_for_output(self) -> tuple[Run, bool]:
        """Read the run, and return it with whether it has ended; raises the error of a command that was not run."""
        run = await self.read()
        ended = has_ended(run)
        if ended and self.refuse is not None:
            self.result_of(run, "run.output", check=False)
        return self.as_shown(run), ended

    def as_shown(self, run: Run) -> Run:
        """Return the run with what a caller sees of its standard error."""
        stderr = run.stderr if self.shown is None else self.shown(run.stderr)
        return run if len(stderr) == len(run.stderr) else attrs.evolve(run, stderr=stderr)

    def _note(self, run: RunSummary) -> None:
        self.state = run.state
        self.data = _summary(run) if isinstance(run, Run) else run
        if self.when_ended is not None and has_ended(run):
            told, self.when_ended = self.when_ended, None
            told()

    async def _explain(self, error: NotFoundError) -> ArkerError:
        """Return the error for a run that was not found: `VMGoneError` if its VM is gone."""
        try:
            await self.place.send(vm_calls.get_vm(self.place), deadline=ASK_SECONDS)
        except NotFoundError:
            vm_id, run_id = self.place.redact(self.place.vm_id), self.place.redact(self.run_id)
            return VMGoneError(
                f"the VM {vm_id} has gone, and its run with it",
                operation=error.operation,
                vm_id=vm_id,
                run_id=run_id,
                request_id=error.request_id,
            )
        except ArkerError:
            pass
        return error

    def result_of(self, run: Run, operation: str, *, check: bool) -> CompletedRunResult:
        """Make the result of an ended run; with ``check`` raise unless it has succeeded."""
        result = CompletedRunResult(
            run_id=run.run_id,
            session_id=run.session_id,
            state=run.state or "completed",
            stdout=run.stdout,
            stdout_encoding=run.stdout_encoding,
            stderr=run.stderr,
            stderr_encoding=run.stderr_encoding,
            exit_code=run.exit_code,
            fail_reason=run.fail_reason,
            misfits=run.misfits,
        )
        if self.refuse is not None:
            self.refuse(result)
        if check:
            raise_unless_succeeded(self.place, result, operation=operation)
        return result


def reason_of_timeout(timeout: float) -> str:
    """Return the reason of a run that was killed after its ``timeout``, where the server gives none."""
    return f"timeout: the command did not end within {timeout:g} s"


def raise_unless_succeeded(place: Place, result: CompletedRunResult, *, operation: str) -> None:
    """Raise `RunFailedError` unless a command has succeeded, as ``check=True`` demands."""
    if not result.ok:
        raise _failed(place, result, operation)


def _failed(place: Place, result: CompletedRunResult, operation: str) -> RunFailedError:
    failed = RunFailedError(result)
    # It would quote the command's output, which may hold anything.
    return failed.with_context(message=place.redact(failed.message), operation=operation, vm_id=place.vm_id)


def _summary(run: Run) -> RunSummary:
    """Return a run without its output, which may be large."""
    return RunSummary(**{field.name: getattr(run, field.name) for field in attrs.fields(RunSummary)})


__all__ = ["UNREADABLE", "RunFollower", "raise_unless_succeeded", "reason_of_timeout"]
