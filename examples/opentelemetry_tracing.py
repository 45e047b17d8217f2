"""Tracing with OpenTelemetry by hooks: a span for each operation, and a child span for each attempt.

It runs on the embedded backend, which needs no account and no network, and prints the spans as a tree.

    pip install opentelemetry-sdk
    python examples/opentelemetry_tracing.py

A program that already creates spans needs only `trace_attempts`: the spans of attempts are children of the current span
at the call of a client's method. Use `operation` for a span around each operation as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from arker import AsyncArker, Hooks, NotFoundError, RequestEvent, RetryEvent, TransferEvent

BIG = 8 * 1024 * 1024


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def trace_attempts(tracer: Tracer) -> Hooks:
    """Create hooks that record each attempt as a child of the current span, and retries and transfers on that span."""

    def on_request(event: RequestEvent) -> None:
        # The attempt has ended, so the span is created with its start and end times. Its parent is the
        # current span of the task that called the client: hooks are called with its context variables.
        span = tracer.start_span(
            f"{event.method} {event.operation}", kind=SpanKind.CLIENT, start_time=nanoseconds(event.started)
        )
        span.set_attribute("http.request.method", event.method)
        span.set_attribute("url.full", event.url)
        span.set_attribute("http.request.body.size", event.bytes_sent)
        span.set_attribute("http.response.body.size", event.bytes_received)
        span.set_attribute("arker.attempt", event.attempt)
        if event.status is not None:
            span.set_attribute("http.response.status_code", event.status)
        if event.request_id is not None:
            span.set_attribute("arker.request_id", event.request_id)
        if event.error is not None:
            span.set_attribute("error.type", event.error.code)
            span.set_status(Status(StatusCode.ERROR, event.error.message))
        elif event.cancelled:
            span.set_status(Status(StatusCode.ERROR, "given up"))
        span.end(nanoseconds(event.started + event.seconds))

    def on_retry(event: RetryEvent) -> None:
        trace.get_current_span().add_event("retry", {"arker.delay": event.delay, "error.type": event.error.code})

    def on_transfer(event: TransferEvent) -> None:
        if event.done == event.total:
            trace.get_current_span().add_event(event.direction, {"arker.path": event.path, "arker.bytes": event.total})

    return Hooks(on_request=on_request, on_retry=on_retry, on_transfer=on_transfer)


@contextmanager
def operation(tracer: Tracer, name: str) -> Generator[Span, None, None]:
    """Create a span around one operation of the program. The client's requests inside become its children."""
    with tracer.start_as_current_span(name) as span:
        yield span


def show(spans: Sequence[ReadableSpan]) -> None:
    """Print spans as a tree."""

    def below(parent: int | None, depth: int) -> None:
        children = [span for span in spans if (span.parent.span_id if span.parent is not None else None) == parent]
        for span in sorted(children, key=lambda child: child.start_time or 0):
            attributes = span.attributes or {}
            facts = [
                str(attributes[name]) for name in ("http.response.status_code", "error.type") if name in attributes
            ]
            facts += [event.name for event in span.events if event.name != "exception"]
            took = ((span.end_time or 0) - (span.start_time or 0)) / 1_000_000
            print(f"{took:9.1f} ms  {'  ' * depth}{span.name}  {' '.join(facts)}".rstrip())
            context = span.get_span_context()
            if context is not None:
                below(context.span_id, depth + 1)

    below(None, 0)


async def main() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    # To send spans to a service, use a BatchSpanProcessor with that service's exporter.
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("arker-example")

    async with AsyncArker.local(hooks=trace_attempts(tracer)) as ar:
        with operation(tracer, "the whole program"):
            with operation(tracer, "fork"):
                vm = await ar.fork("ubuntu")
            async with vm:
                with operation(tracer, "two commands at once"):
                    await asyncio.gather(vm.run("true", check=True), vm.run("echo hi", check=True))
                with operation(tracer, "a big file"):
                    await vm.sync("/tmp/big", bytes(BIG))
                    await vm.sync("/tmp/big")
                with operation(tracer, "a run that is not there"):
                    try:
                        await vm.get_run("no-such-run")
                    except NotFoundError as error:
                        print(f"{error}\n")

    provider.shutdown()
    show(exporter.get_finished_spans())


if __name__ == "__main__":
    asyncio.run(main())
