"""What a client does while a command keeps it waiting: it looks whether the VM is still there (contract, section 5).

A foreground run is silent until its command has ended, so silence says nothing: the VM may have gone, the reply may
have been lost, or the command may take its time. Only questions tell these apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker import _calls
from arker._attempts import Progress
from arker._wire import ExchangeFailedError
from arker.errors import ArkerError, NotFoundError, VMGoneError

if TYPE_CHECKING:
    from arker._transport import Transport
    from arker.models import Run, RunRequest, RunResult

ASK_SECONDS: Final = 10.0
"""Bound on one question: a server that does not answer it says nothing about the run."""
_SURE: Final = 2
"""How often in a row the run must be found ended before its reply counts as lost: it may just be on its way."""


class RunWatch:
    """Looks after one foreground run."""

    __slots__ = ("_asked", "_base_url", "_captured", "_ended", "_request", "_run_id", "_transport", "_vm_id")

    def __init__(self, transport: Transport, base_url: str, vm_id: str, request: RunRequest) -> None:
        self._transport = transport
        self._base_url = base_url
        self._vm_id = vm_id
        self._request = request
        self._asked = 0
        self._ended = 0
        self._run_id: str | None = None
        self._captured: Run | None = None

    async def probe(self) -> None:
        """Ask once.

        Raises:
            VMGoneError: The VM has gone.
            ExchangeFailedError: The run is over, so its reply was lost: the request has to be sent again.
        """
        self._asked += 1
        try:
            vm = await self._transport.send(_calls.get_vm(self._base_url, self._vm_id), deadline=ASK_SECONDS)
        except NotFoundError:
            raise self.gone() from None
        except ArkerError:
            return
        # Reading the output takes the longer the more there is, so it is read ever more rarely.
        if vm.state != "idle" and self._asked & (self._asked - 1) == 0:
            try:
                await self._look()
            except ArkerError:
                pass
        over = vm.state == "idle" or (self._captured is not None and self._captured.state != "running")
        self._ended = self._ended + 1 if over else 0
        if self._ended >= _SURE:
            self._ended = 0  # the next reply gets as much time to come
            raise ExchangeFailedError("the run is over, but its reply did not arrive", delivered=True)

    async def _look(self) -> None:
        """Read what the command has written so far."""
        if self._run_id is None:
            self._run_id = await self._find()
        if self._run_id is not None:
            call = _calls.get_run(self._base_url, self._vm_id, self._run_id)
            self._captured = await self._transport.send(call, deadline=ASK_SECONDS)

    async def _find(self) -> str | None:
        """The run's id, which only its reply tells; None unless there is just one that it can be."""
        call = _calls.list_runs(self._base_url, self._vm_id, {"state": "running", "limit": 1000})
        page = await self._transport.send(call, deadline=ASK_SECONDS)
        wanted = self._request.session_id
        fitting = [
            run.run_id for run in page.runs if run.command == self._request.command and wanted in (None, run.session_id)
        ]
        return fitting[0] if len(fitting) == 1 else None

    async def send(self, key: str, deadline: float | None) -> RunResult:
        """Run the command and wait for its result.

        Raises:
            VMGoneError: The VM has gone meanwhile.
        """
        call = _calls.run(self._base_url, self._vm_id, self._request, key, self.probe)
        progress = Progress(call.operation)
        try:
            return await self._transport.send(call, deadline=deadline, progress=progress)
        except VMGoneError:
            raise
        except NotFoundError as error:
            raise await self._explain(error, progress) from None

    async def _explain(self, error: NotFoundError, progress: Progress) -> ArkerError:
        """What it means that a run is answered with "not found": the VM may have gone since it was sent first."""
        if progress.outcome == "not_started":
            return error
        try:
            await self._transport.send(_calls.get_vm(self._base_url, self._vm_id), deadline=ASK_SECONDS)
        except NotFoundError:
            return progress.complete(self.gone())
        except ArkerError:
            pass
        return error

    def gone(self) -> VMGoneError:
        captured = self._captured
        return VMGoneError(
            f"the VM {self._vm_id} has gone while a command was running in it",
            stdout=b"" if captured is None else captured.stdout,
            stderr=b"" if captured is None else captured.stderr,
            run_id=self._run_id,
            vm_id=self._vm_id,
        )


__all__ = ["RunWatch"]
