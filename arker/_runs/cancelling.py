"""The cancellation of runs that were just started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker._protocol.calls import runs as run_calls
from arker._tasks import clock
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import NotFoundError

if TYPE_CHECKING:
    from arker._context import Place
    from arker.models import CancelRunResponse

APPEARS: Final = 2.0
"""Seconds within which a run that was just started may be unknown to the server that is asked to cancel it."""
_STEP: Final = 0.1


async def cancel(
    place: Place, run_id: str, *, deadline: float | None = None, of_any_server: bool = False
) -> CancelRunResponse:
    """Cancel a run, which the server may come to know a moment after it has accepted it (contract-1, section 6).

    Args:
        place: The VM.
        run_id: The run's id.
        deadline: Seconds for all of it.
        of_any_server: Whether to ask again although the server does not say that it is the run that it does not find.

    Raises:
        NotFoundError: There is no such run in this VM, or no such VM.
    """
    call = run_calls.cancel_run(place, run_id)
    began = clock.now()
    progress = Progress(call.operation, vm_id=place.vm_id, run_id=run_id, redact=place.redact)
    with deadline_scope(deadline, progress):
        while True:
            try:
                return await place.send(call)
            except NotFoundError as error:
                missing = error.details.get("resource")
                if missing != "run" and (missing is not None or not of_any_server):
                    raise
                if clock.now() - began >= APPEARS:
                    raise
            await clock.sleep(_STEP)


__all__ = ["APPEARS", "cancel"]
