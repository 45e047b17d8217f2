"""OpenTelemetry: hooks that make a span of each attempt, and measure how long it took.

    from arker import AsyncArker
    from arker import otel

    async with AsyncArker.local(hooks=otel.hooks()) as ar:
        await ar.list_vms()

It needs ``pip install 'arker-async[otel]'``, which brings OpenTelemetry's API. Where spans and measurements go is set
up by the program, with OpenTelemetry's SDK. Names are those of its semantic conventions for HTTP clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from arker._basics.version import version
from arker.errors import ConfigurationError, InvalidArgumentError
from arker.hooks import Hooks, RequestEvent, RetryEvent, TransferEvent

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
except ImportError as error:
    message = "arker.otel needs OpenTelemetry's API: pip install 'arker-async[otel]'"
    raise ConfigurationError(message) from error

_Event = TypeVar("_Event")

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The boundaries that the semantic conventions advise, in seconds."""


def hooks(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    also: Hooks | None = None,
) -> Hooks:
    """Make hooks that record the requests of a client with OpenTelemetry.

    Each attempt becomes a span, ``POST vm.run`` for example, below the span that was current when the client's method
    was called. Retries and finished transfers by presigned URLs become events of that current span. The histogram
    ``http.client.request.duration`` measures all attempts. No span contains the API key or the query of a presigned
    URL.

    Args:
        tracer_provider: Where spans go; by default the global provider.
        meter_provider: Where measurements go; by default the global provider.
        also: Further hooks, which are called first.

    Returns:
        Hooks for `AsyncArker`, `AsyncArker.local` and the blocking client.

    Raises:
        InvalidArgumentError: ``also`` is something else than hooks.
    """
    if also is not None and not isinstance(also, Hooks):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("also", also, "expected Hooks")
    tracer = trace.get_tracer("arker", version(), tracer_provider)
    meter = metrics.get_meter("arker", version(), meter_provider)
    duration = meter.create_histogram(
        "http.client.request.duration",
        unit="s",
        description="Duration of HTTP client requests.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )

    def on_request(event: RequestEvent) -> None:
        facts = _facts(event)
        duration.record(event.seconds, facts)
        # The attempt has ended: its parent is the span that is current where the client was called.
        span = tracer.start_span(
            f"{event.method} {event.operation}",
            kind=SpanKind.CLIENT,
            start_time=_nanoseconds(event.started),
            attributes={
                **facts,
                "url.full": event.url,
                "http.request.body.size": event.bytes_sent,
                "http.response.body.size": event.bytes_received,
                "arker.operation": event.operation,
            },
        )
        if event.attempt > 1:
            span.set_attribute("http.request.resend_count", event.attempt - 1)
        if event.request_id is not None:
            span.set_attribute("arker.request_id", event.request_id)
        if event.idempotency_key is not None:
            span.set_attribute("arker.idempotency_key", event.idempotency_key)
        if event.error is not None:
            span.set_status(Status(StatusCode.ERROR, event.error.message))
        elif event.cancelled:
            span.set_status(Status(StatusCode.ERROR, "given up"))
        span.end(_nanoseconds(event.started + event.seconds))

    def on_retry(event: RetryEvent) -> None:
        attributes: dict[str, str | float] = {
            "arker.operation": event.operation,
            "arker.delay": event.delay,
            "error.type": event.error.code,
        }
        trace.get_current_span().add_event("retry", attributes)

    def on_transfer(event: TransferEvent) -> None:
        if event.done == event.total:
            trace.get_current_span().add_event(event.direction, {"arker.path": event.path, "arker.bytes": event.total})

    before = also or Hooks()
    return Hooks(
        on_request=_both(before.on_request, on_request),
        on_retry=_both(before.on_retry, on_retry),
        on_transfer=_both(before.on_transfer, on_transfer),
    )


def _both(first: Callable[[_Event], object] | None, second: Callable[[_Event], None]) -> Callable[[_Event], object]:
    """Return a function that calls both, the second one also when the first one raises, and returns the first's result.

    That may be a coroutine, which the client closes and complains of.
    """
    if first is None:
        return second

    def both(event: _Event) -> object:
        try:
            return first(event)
        finally:
            second(event)

    return both


def _facts(event: RequestEvent) -> dict[str, Any]:
    """Return the attributes that a span and a measurement have in common; each has few values."""
    where = urlsplit(event.url)
    facts: dict[str, Any] = {"http.request.method": event.method, "server.address": where.hostname or ""}
    port = where.port or {"http": 80, "https": 443}.get(where.scheme)
    if port is not None:
        facts["server.port"] = port
    if event.status is not None:
        facts["http.response.status_code"] = event.status
    if event.error is not None:
        facts["error.type"] = event.error.code
    elif event.cancelled:
        facts["error.type"] = "cancelled"
    return facts


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


__all__ = ["hooks"]
