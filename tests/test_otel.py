"""The hooks for OpenTelemetry, with its SDK."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from arker import Hooks, InvalidArgumentError, NotFoundError, RequestEvent, otel
from arker.emulator import Emulator
from arker_sync import Arker
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY
from tests.support.server import ScriptedServer, error, ok

pytestmark = pytest.mark.anyio


class Recorded:
    """Providers that keep what they are told."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.traces = TracerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def hooks(self, also: Hooks | None = None) -> Hooks:
        return otel.hooks(tracer_provider=self.traces, meter_provider=self.meters, also=also)

    def spans(self) -> list[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def durations(self) -> list[HistogramDataPoint]:
        data = self._reader.get_metrics_data()
        assert data is not None
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
        return [point for point in metric.data.data_points if isinstance(point, HistogramDataPoint)]


async def test_attempts_are_spans_below_the_current_one(server: ScriptedServer) -> None:
    recorded = Recorded()
    server.script(error("unavailable", status=503), ok(completed()))
    async with make_client(server, hooks=recorded.hooks()) as client:
        with recorded.traces.get_tracer("test").start_as_current_span("work") as work:
            await client.vm("vm-1").run("true", idempotency_key="key-1")
    parent, first, second = recorded.spans()
    context = work.get_span_context()
    assert parent.name == "work"
    assert [event.name for event in parent.events] == ["retry"]
    for span in (first, second):
        assert span.name == "POST vm.run"
        assert span.kind is SpanKind.CLIENT
        assert span.parent is not None
        assert span.parent.span_id == context.span_id
        assert (span.end_time or 0) > (span.start_time or 0)
    common = {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "arker.operation": "vm.run",
        "arker.idempotency_key": "key-1",
    }
    for span, more in (
        (first, {"http.response.status_code": 503, "error.type": "unavailable"}),
        (second, {"http.response.status_code": 200, "http.request.resend_count": 1}),
    ):
        attributes: dict[str, Any] = dict(span.attributes or {})
        assert attributes.items() >= {**common, **more}.items()
        assert attributes["url.full"].endswith("/v1/vms/vm-1/runs")
    assert "http.request.resend_count" not in (first.attributes or {})
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert API_KEY not in "".join(span.to_json() for span in recorded.spans())


async def test_durations_are_measured(server: ScriptedServer) -> None:
    recorded = Recorded()
    server.script(ok(completed()), ok(completed()), error("not_found", status=404))
    async with make_client(server, hooks=recorded.hooks()) as client:
        for _ in range(2):
            await client.vm("vm-1").run("true")
        with pytest.raises(NotFoundError):
            await client.vm("vm-1").run("true")
    counts = {(point.attributes or {}).get("error.type"): point.count for point in recorded.durations()}
    assert counts == {None: 2, "not_found": 1}
    assert all("url.full" not in (point.attributes or {}) for point in recorded.durations())


async def test_other_hooks_are_called_too_and_break_nothing(server: ScriptedServer) -> None:
    seen: list[str] = []

    def look(event: RequestEvent) -> None:
        seen.append(event.operation)
        raise RuntimeError("a hook of the program's")

    recorded = Recorded()
    server.script(ok(completed()))
    async with make_client(server, hooks=recorded.hooks(Hooks(on_request=look))) as client:
        await client.vm("vm-1").run("true")
    assert seen == ["vm.run"]
    assert [span.name for span in recorded.spans()] == ["POST vm.run"]


async def test_another_hook_that_has_to_be_awaited_is_complained_of(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def look(event: RequestEvent) -> None:
        pytest.fail("nothing awaits it")

    recorded = Recorded()
    server.script(ok(completed()))
    hooks = recorded.hooks(Hooks(on_request=lambda event: look(event)))
    async with make_client(server, hooks=hooks) as client:
        await client.vm("vm-1").run("true")
    assert "expected an ordinary function" in caplog.text
    assert [span.name for span in recorded.spans()] == ["POST vm.run"]


def test_the_blocking_client_and_transfers(arker_emulator: Emulator) -> None:
    recorded = Recorded()
    with (
        Arker(**arker_emulator.client_options, hooks=recorded.hooks()) as ar,
        ar.fork("ubuntu") as vm,
        recorded.traces.get_tracer("test").start_as_current_span("work"),
    ):
        vm.sync("big", bytes(5 * 1024 * 1024))
    work = next(span for span in recorded.spans() if span.name == "work")
    assert [(event.name, (event.attributes or {})["arker.bytes"]) for event in work.events] == [
        ("upload", 5 * 1024 * 1024)
    ]
    below = [span.name for span in recorded.spans() if span.parent is not None]
    assert below == ["POST vm.sync", "PUT vm.sync", "POST vm.sync"]
    assert "?" not in str(
        [(span.attributes or {})["url.full"] for span in recorded.spans() if span.name == "PUT vm.sync"]
    )


def test_without_providers_nothing_is_recorded_and_nothing_breaks() -> None:
    assert otel.hooks().on_request is not None


def test_what_is_no_hooks_is_refused() -> None:
    wrong: Any = print
    with pytest.raises(InvalidArgumentError, match=r"also.*expected Hooks"):
        otel.hooks(also=wrong)


def test_without_opentelemetry_the_error_names_the_extra() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None; import arker.otel"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "ConfigurationError: arker.otel needs OpenTelemetry's API: pip install 'arker-async[otel]'" in done.stderr
