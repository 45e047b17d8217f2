"""Tracing with OpenTelemetry by hooks: a span for each operation, and a child span for each attempt.

It runs on the embedded backend, which needs no account and no network, and prints the spans as a tree.

    pip install 'arker-async[emulator,otel]' opentelemetry-sdk
    python examples/opentelemetry_tracing.py

A program that already creates spans needs only `arker.otel.hooks`: the spans of attempts are children of the current
span at the call of a client's method. Use `operation` for a span around each operation as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, Tracer

from arker import AsyncArker, NotFoundError, otel

BIG = 8 * 1024 * 1024


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

    async with AsyncArker.local(hooks=otel.hooks(tracer_provider=provider)) as ar:
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
