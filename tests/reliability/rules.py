"""What section 3 of the contract says about a cell, without a look at how the client does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from attrs import frozen

from arker.errors import Outcome
from tests.reliability.failures import Failure
from tests.reliability.operations import Named, Operation

Verdict: TypeAlias = Literal["result", "wrong result", "ArkerError", "other"]


@frozen(kw_only=True)
class Cell:
    """What happened.

    Attributes:
        effects: How often the effect is there; None where there is none to be had.
        verdict: What the client said.
        error: The class of the error.
        outcome: Its ``outcome``.
        names: What it names.
    """

    effects: int | None = None
    verdict: Verdict
    error: str = ""
    outcome: Outcome | None = None
    names: frozenset[Named] = frozenset()


def violations(operation: Operation, failure: Failure, cell: Cell, *, always: bool) -> Iterator[str]:
    """Yield the violations of the rules in a cell."""
    if cell.verdict in ("wrong result", "other"):
        yield f"the client says: {cell.verdict} {cell.error}"
    done = cell.effects
    # An answer that section 3 calls retryable lets anything be sent again, whether or not the server heeds its key.
    may_double = operation.kind == "creating" and failure.sort == "later" and failure.carried_out
    if done is not None and done > 1 and not may_double:
        yield f"it was done {done} times"
    if cell.verdict == "result" and done == 0:
        yield "there is a result, but it was not done"
    if cell.outcome == "not_started" and done:
        yield "the error says that it was not done, but it was"
    if cell.outcome == "applied" and done == 0:
        yield "the error says that it was done, but it was not"
    if failure.carried_out and operation.decisive and failure.sort != "expired" and done == 0:
        yield "the server was to do it, and did not: the cell shows nothing"
    if cell.verdict == "ArkerError" and cell.names != operation.names:
        yield f"the error names {sorted(cell.names)}, not {sorted(operation.names)}"
    yield from _ends(operation, failure, cell, always=always)


def _ends(operation: Operation, failure: Failure, cell: Cell, *, always: bool) -> Iterator[str]:
    """How it must end."""
    reading, done = operation.kind == "reading", cell.effects
    whole = cell.verdict == "result" and (reading or done == 1)
    in_store = operation.hit.startswith("presigned_")
    if failure.sort == "slow" or (failure.name == "garbage" and operation.hit == "presigned_put"):
        # Of an object store's reply only the status counts.
        if not whole:
            yield "nothing went wrong, so there must be a result"
        return
    # A fork whose reply names no id is asked for again with its key.
    mended = failure.name == "garbage" and (in_store or operation.name == "fork")
    final = failure.sort == "final" and not mended
    if always or final:
        if cell.verdict != "ArkerError":
            yield "it cannot be had, so there must be an error"
        if not reading and operation.decisive and failure.carried_out and cell.outcome == "not_started":
            yield "it may have been done, and the error does not say so"
        return
    if operation.kind == "creating" and failure.sort == "lost":
        if cell.verdict != "ArkerError" or cell.outcome != "unknown":
            yield "it is unknown whether it was done, and it must not be tried again"
        return
    if operation.kind == "creating" and failure.carried_out:
        if cell.verdict == "ArkerError" and cell.outcome != "unknown":
            yield "it is unknown whether it was done"
        return
    if not whole:
        yield "one fault must not be the end of it"


__all__ = ["Cell", "Verdict", "violations"]
