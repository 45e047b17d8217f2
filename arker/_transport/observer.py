"""Reports of the client's actions to the log and to the caller's hooks. Nothing is computed without a listener."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define

from arker._basics.shown import shown
from arker._tasks import clock
from arker._transport.wishes import grant
from arker.hooks import Hooks, RequestEvent, RetryEvent, TransferEvent

if TYPE_CHECKING:
    from arker._transport.attempts import Attempt, Progress
    from arker.errors import ArkerError
    from arker.transfer import Direction

Event = TypeVar("Event")

logger = logging.getLogger("arker")


class _Shown:
    """An argument of a log record, formatted when the record is written."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return shown(str(self._value), lines=isinstance(self._value, BaseException))

    def __repr__(self) -> str:
        return repr(self._value)


class _ShowsArguments(logging.Filter):
    """A log filter that makes texts and exceptions among the arguments safe to show. It drops no record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                [_Shown(value) if isinstance(value, (str, BaseException)) else value for value in record.args]
            )
        return True


logger.addFilter(_ShowsArguments())

STEP: Final = 1024 * 1024
"""Bytes from one event of a transfer to the next."""


class Teller:
    """A caller of hooks that handles their exceptions."""

    def __init__(self) -> None:
        self._complained: set[str] = set()

    def tell(self, name: str, hook: Callable[[Event], object], event: Event) -> None:
        """Call a hook.

        Args:
            name: Its name, under which its first exception is logged.
            hook: The hook.
            event: The event to pass.
        """
        try:
            result = hook(event)
            if isinstance(result, Coroutine):
                result.close()  # it is not awaited, and Python would warn of that
                raise TypeError("expected an ordinary function, which returns when it is done")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            # Also a CancelledError, which an ordinary function can only have made itself.
            if name not in self._complained:
                self._complained.add(name)
                logger.warning(
                    "the hook %s raised %s; what it raises from now on is not logged",
                    name,
                    type(error).__name__,
                    exc_info=True,
                )


class Observer(Teller):
    """The client's log and hooks."""

    def __init__(self, hooks: Hooks | None, redact: Callable[[str], str]) -> None:
        """Make an observer.

        Args:
            hooks: The caller's hooks.
            redact: Removes secrets from a text.
        """
        super().__init__()
        self.hooks = hooks if hooks is not None else Hooks()
        self.redact = redact

    def tell(self, name: str, hook: Callable[[Event], object], event: Event) -> None:
        """Call a hook, and have it end the program if it raises what does that."""
        try:
            super().tell(name, hook, event)
        except (KeyboardInterrupt, SystemExit) as wish:
            grant(wish)

    def watch(self, attempt: Attempt, progress: Progress) -> Watch | None:
        """Return a watch for the begin and end of attempts; None without a listener."""
        if self.hooks.on_request is None and not logger.isEnabledFor(logging.DEBUG):
            return None
        return Watch(self, attempt, progress)

    def retry(self, attempt: Attempt, progress: Progress, delay: float, error: ArkerError) -> None:
        """Report that a request is about to be sent again."""
        if logger.isEnabledFor(logging.INFO):
            facts = {
                "event": "retry",
                **self._facts(attempt, progress),
                **_error_facts(error),
                "delay": delay,
            }
            logger.info(
                "%s: trying again in %.2f s after: %s", progress.operation, delay, error, extra={"arker": facts}
            )
        if self.hooks.on_retry is not None:
            event = RetryEvent(operation=progress.operation, attempt=progress.attempts, delay=delay, error=error)
            self.tell("on_retry", self.hooks.on_retry, event)

    def transfer(
        self, operation: str, vm_id: str, path: str, direction: Direction, total: int
    ) -> Callable[[int], None] | None:
        """Return a function that reports the bytes of a transfer; None without a listener."""
        hook = self.hooks.on_transfer
        if hook is None:
            return None

        def tell(done: int) -> None:
            event = TransferEvent(
                operation=operation, vm_id=vm_id, path=path, direction=direction, done=done, total=total
            )
            self.tell("on_transfer", hook, event)

        return tell

    def _facts(self, attempt: Attempt, progress: Progress) -> dict[str, Any]:
        request = attempt.request
        facts: dict[str, Any] = {
            "operation": progress.operation,
            "attempt": progress.attempts,
            "method": attempt.method,
            "path": self.redact(request.path) if request is not None else attempt.label,
        }
        if request is not None and request.idempotency_key is not None:
            facts["idempotency_key"] = request.idempotency_key
        return facts

    def ended(self, watch: Watch, error: ArkerError | None, *, cancelled: bool) -> None:
        """Report that an attempt has ended."""
        attempt, progress = watch.attempt, watch.progress
        seconds = clock.now() - watch.began
        response = attempt.response
        status = response.status if response is not None else None
        if status is None and error is not None:
            status = error.status or None  # of a reply that was not read
        request_id = None
        if response is not None and attempt.request is not None and "x-request-id" in response.headers:
            request_id = self.redact(response.headers["x-request-id"])
        received = len(response.body) if response is not None else 0
        if logger.isEnabledFor(logging.DEBUG):
            facts = {"event": "attempt", **self._facts(attempt, progress), "elapsed_ms": round(seconds * 1000, 3)}
            facts |= {"bytes_sent": attempt.bytes_sent, "bytes_received": received}
            if status is not None:
                facts["status"] = status
            if request_id is not None:
                facts["request_id"] = request_id
            if error is not None:
                facts |= _error_facts(error)
            if cancelled:
                facts["cancelled"] = True
            verdict = error if error is not None else "given up" if cancelled else f"done in {seconds * 1000:.1f} ms"
            logger.debug(
                "%s: attempt %d, %s %s: %s",
                *(facts[name] for name in ("operation", "attempt", "method", "path")),
                verdict,
                extra={"arker": facts},
            )
        if self.hooks.on_request is not None:
            event = RequestEvent(
                operation=progress.operation,
                method=attempt.method,
                url=self.redact(attempt.url),
                attempt=progress.attempts,
                started=watch.started,
                seconds=seconds,
                status=status,
                error=error,
                cancelled=cancelled,
                request_id=request_id,
                idempotency_key=attempt.request.idempotency_key if attempt.request is not None else None,
                bytes_sent=attempt.bytes_sent,
                bytes_received=received,
            )
            self.tell("on_request", self.hooks.on_request, event)


@define
class Watch:
    """A watch over the attempts of one request, one after the other."""

    observer: Observer
    attempt: Attempt
    progress: Progress
    started: float = 0.0
    began: float = 0.0

    def begin(self) -> None:
        self.started = time.time()  # as the caller's own events are stamped
        self.began = clock.now()
        self.attempt.response = None

    def end(self, error: ArkerError | None = None, *, cancelled: bool = False) -> None:
        self.observer.ended(self, error, cancelled=cancelled)


def _error_facts(error: ArkerError) -> dict[str, Any]:
    facts = {
        "error": type(error).__name__,
        "code": error.code,
        "outcome": error.outcome,
        "status": error.status or None,
        "request_id": error.request_id,
        "vm_id": error.vm_id,
        "run_id": error.run_id,
    }
    return {name: value for name, value in facts.items() if value is not None}


__all__ = ["Observer", "Teller", "Watch"]
