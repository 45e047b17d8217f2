"""Every fault of the matrix: how to set it, and what a client may conclude from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from arker.emulator.control.fault import Fault
from arker.emulator.control.faults import Faults
from tests.reliability.operations import Operation

Sort: TypeAlias = Literal["later", "final", "lost", "slow", "expired"]
"""What the client gets: an answer that the same may succeed later; one that it will not; none; all, only late; or that
a URL has expired."""

IDLE: Final = 0.3
SILENCE: Final = 0.1
"""Seconds: the bounds of the client where the server is silent for good; all others have bounds that nothing meets."""


@frozen(kw_only=True)
class Failure:
    """A column of the matrix.

    Attributes:
        name: Its title.
        meaning: What happens, for the legend.
        sort: What the client gets.
        carried_out: Whether the request is carried out all the same.
        goes_on: Whether that may be after the client has got what it gets.
        silent: Whether only a bound of the client ends it.
        presigned_only: Whether it is one of presigned URLs alone.
        arrange: Sets it, given the conditions.
    """

    name: str
    meaning: str
    sort: Sort
    carried_out: bool
    goes_on: bool = False
    silent: bool = False
    presigned_only: bool = False
    arrange: Callable[[Faults, dict[str, Any]], Fault]

    def concerns(self, operation: Operation) -> bool:
        """Whether there is such a thing."""
        return not self.presigned_only or operation.hit.startswith("presigned_")

    def begin(self, faults: Faults, operation: Operation, *, always: bool) -> Fault:
        """Set it for an operation: for one request, or for all of them."""
        conditions = {"operation": operation.hit, "times": None if always else 1, "skip": operation.skip}
        return self.arrange(faults, conditions)


FAILURES: Final[tuple[Failure, ...]] = (
    Failure(
        name="503",
        meaning="HTTP 503 `unavailable`; nothing was done",
        sort="later",
        carried_out=False,
        arrange=lambda faults, given: faults.error(status=503, **given),
    ),
    Failure(
        name="429",
        meaning="HTTP 429 with `Retry-After`; nothing was done",
        sort="later",
        carried_out=False,
        arrange=lambda faults, given: faults.error(status=429, retry_after=0.01, **given),
    ),
    Failure(
        name="pressure",
        meaning="HTTP 503 `resource_pressure`; nothing was done",
        sort="later",
        carried_out=False,
        arrange=lambda faults, given: faults.error(status=503, code="resource_pressure", **given),
    ),
    Failure(
        name="500",
        meaning="HTTP 500 `internal`; nothing was done",
        sort="final",
        carried_out=False,
        arrange=lambda faults, given: faults.error(status=500, **given),
    ),
    Failure(
        name="500 done",
        meaning="HTTP 500 `internal` after it was done",
        sort="final",
        carried_out=True,
        arrange=lambda faults, given: faults.error(status=500, processed=True, **given),
    ),
    Failure(
        name="502 done",
        meaning="HTTP 502 after it was done",
        sort="later",
        carried_out=True,
        arrange=lambda faults, given: faults.error(status=502, processed=True, **given),
    ),
    Failure(
        name="504 done",
        meaning="HTTP 504 after it was done",
        sort="later",
        carried_out=True,
        arrange=lambda faults, given: faults.error(status=504, processed=True, **given),
    ),
    Failure(
        name="garbage",
        meaning="the status of success and an HTML page, after it was done",
        sort="final",
        carried_out=True,
        arrange=lambda faults, given: faults.garbage(**given),
    ),
    Failure(
        name="FIN before",
        meaning="the connection ends without a reply, and nothing is done",
        sort="lost",
        carried_out=False,
        arrange=lambda faults, given: faults.close(moment="before", **given),
    ),
    Failure(
        name="RST before",
        meaning="the same, by a reset",
        sort="lost",
        carried_out=False,
        arrange=lambda faults, given: faults.close(moment="before", reset=True, **given),
    ),
    Failure(
        name="FIN amid",
        meaning="the connection ends while it is being done, and the work goes on",
        sort="lost",
        carried_out=True,
        goes_on=True,
        arrange=lambda faults, given: faults.close(moment="during", **given),
    ),
    Failure(
        name="RST amid",
        meaning="the same, by a reset",
        sort="lost",
        carried_out=True,
        goes_on=True,
        arrange=lambda faults, given: faults.close(moment="during", reset=True, **given),
    ),
    Failure(
        name="FIN after",
        meaning="the connection ends without a reply, after it was done",
        sort="lost",
        carried_out=True,
        arrange=lambda faults, given: faults.close(moment="after", **given),
    ),
    Failure(
        name="RST after",
        meaning="the same, by a reset",
        sort="lost",
        carried_out=True,
        arrange=lambda faults, given: faults.close(moment="after", reset=True, **given),
    ),
    Failure(
        name="cut",
        meaning="half of the reply's body (of a PUT: of the request's) passes, then the connection ends",
        sort="lost",
        carried_out=True,
        arrange=lambda faults, given: faults.truncate(fraction=0.5, **given),
    ),
    Failure(
        name="stall",
        meaning="no reply, and nothing is done",
        sort="lost",
        carried_out=False,
        silent=True,
        arrange=lambda faults, given: faults.stall(**given),
    ),
    Failure(
        name="stall done",
        meaning="no reply, after it was done",
        sort="lost",
        carried_out=True,
        silent=True,
        arrange=lambda faults, given: faults.stall(processed=True, **given),
    ),
    Failure(
        name="delay",
        meaning="all is well, only later",
        sort="slow",
        carried_out=True,
        arrange=lambda faults, given: faults.delay(seconds=0.02, **given),
    ),
    Failure(
        name="expired",
        meaning="the presigned URL has expired",
        sort="expired",
        carried_out=False,
        presigned_only=True,
        arrange=lambda faults, given: faults.expire(**given),
    ),
)

__all__ = ["FAILURES", "IDLE", "SILENCE", "Failure", "Sort"]
