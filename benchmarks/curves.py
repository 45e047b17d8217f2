"""Draw how the window of requests in flight opens: ``python -m benchmarks.curves [--measured] [FILE.svg]``.

500 VMs at once, each forked, used and deleted, by a cold client, on servers that are 1, 20, 100 and 300 ms late. For
each there is a panel with the number of requests in flight over time: by hand, where all are sent at once; and ours,
with and without knowledge of the round trip. The curves are those of a simulation, which are the same on every
machine; with ``--measured`` they are those of real requests to the benchmarks' server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from attrs import define, field

from arker import AsyncArker
from benchmarks import server
from benchmarks.limit import Limit, settle
from benchmarks.measure import cores, pin, run_bounded
from benchmarks.server import API_KEY
from benchmarks.simulated import simulated

LATE_MS: Final = (1, 20, 100, 300)
VMS: Final = 500
_STEP: Final = 0.002
"""Seconds between two points of a curve."""
_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 220, 60, 40
_COLOURS: Final = {"by hand": "#999999", "round trip unknown": "#e08000", "ours": "#0060c0", "window": "#e08000"}
_ROUND_TRIP: Final = 0.0001
"""Seconds of the simulated network's round trip: that of the machine itself."""


@define
class Curve:
    """Points of a number over time.

    Attributes:
        points: Seconds since the start, and the number.
    """

    points: list[tuple[float, float]] = field(factory=list[tuple[float, float]])

    @property
    def seconds(self) -> float:
        """The time of the last point."""
        return self.points[-1][0]


async def _sampled(work: Awaitable[object], *values: Callable[[], float]) -> list[Curve]:
    """Do some work, and note some numbers until it has ended."""
    curves = [Curve() for _ in values]
    started = time.perf_counter()

    def note() -> None:
        now = time.perf_counter() - started
        for curve, value in zip(curves, values, strict=True):
            curve.points.append((now, value()))

    async def watch() -> None:
        while True:
            note()
            await asyncio.sleep(_STEP)

    watching = asyncio.create_task(watch())
    await work
    note()
    watching.cancel()
    return curves


async def by_hand(base_url: str) -> Curve:
    """Return the number of requests in flight of the calls by hand, which are sent as fast as they can be."""
    in_flight = 0

    async with Limit(base_url) as limit:

        async def counted(call: Awaitable[object]) -> object:
            nonlocal in_flight
            in_flight += 1
            try:
                return await call
            finally:
                in_flight -= 1

        async def one() -> None:
            vm_id = str(await counted(limit.fork("ubuntu")))
            await counted(limit.run(limit.vm_url(vm_id, "/runs"), "echo hi"))
            await counted(limit.delete(limit.vm_url(vm_id)))

        (curve,) = await _sampled(asyncio.gather(*(one() for _ in range(VMS))), lambda: float(in_flight))
    await settle()
    return curve


async def ours(base_url: str) -> list[Curve]:
    """Return the number of requests in flight of a cold client, and the size of its window."""
    async with AsyncArker(API_KEY, base_url=base_url) as client:
        limiter = client._transport.limiter  # pyright: ignore[reportPrivateUsage]

        async def one() -> None:
            vm = await client.fork("ubuntu")
            await vm.run("echo hi")
            await vm.delete()

        work = asyncio.gather(*(one() for _ in range(VMS)))
        curves = await _sampled(work, lambda: float(limiter.in_flight), lambda: limiter.window.size)
    await settle()
    return curves


def drawn(panels: dict[str, dict[str, Curve]]) -> str:
    """Return the panels as an SVG, one below the other."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 5 * _LEFT}" '
        f'height="{len(panels) * (_HEIGHT + 2 * _TOP)}" font-family="sans-serif" font-size="12">'
    ]
    for number, (title, curves) in enumerate(panels.items()):
        top = number * (_HEIGHT + 2 * _TOP) + _TOP
        last = max(curve.seconds for curve in curves.values())
        most = max(value for curve in curves.values() for _, value in curve.points)
        parts.append(f'<text x="{_LEFT}" y="{top - 10}">{title}</text>')
        parts.append(f'<path d="M{_LEFT} {top}V{top + _HEIGHT}H{_LEFT + _WIDTH}" fill="none" stroke="black"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{top + 10}" text-anchor="end">{most:.0f}</text>')
        parts.append(f'<text x="{_LEFT + _WIDTH}" y="{top + _HEIGHT + 15}" text-anchor="end">{last:.2f} s</text>')
        for index, (name, curve) in enumerate(curves.items()):
            colour = _COLOURS[name]
            points = " ".join(
                f"{_LEFT + at / last * _WIDTH:.1f},{top + _HEIGHT - value / most * _HEIGHT:.1f}"
                for at, value in curve.points
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
            parts.append(
                f'<text x="{_LEFT + _WIDTH + 5}" y="{top + 15 * (index + 1)}" fill="{colour}">'
                f"{name} {curve.seconds:.2f} s</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


async def _panels(base_url: str) -> dict[str, dict[str, Curve]]:
    panels: dict[str, dict[str, Curve]] = {}
    for late in LATE_MS:
        url = f"{base_url}/late/{late}"
        await ours(url)  # what is loaded at the first request is no matter of the window
        hand = await by_hand(url)
        mine, window = await ours(url)
        panels[f"{VMS} VMs, server {late} ms late"] = {"by hand": hand, "ours": mine, "window": window}
        print(f"{late} ms late: by hand {hand.seconds:.2f} s, ours {mine.seconds:.2f} s")
    return panels


def _simulated_panels() -> dict[str, dict[str, Curve]]:
    panels: dict[str, dict[str, Curve]] = {}
    for late in LATE_MS:
        runs = {
            "by hand": simulated(late / 1000, size=512.0),
            "round trip unknown": simulated(late / 1000),
            "ours": simulated(late / 1000, round_trip=_ROUND_TRIP),
        }
        curves: dict[str, Curve] = {}
        for name, run in runs.items():
            curves[name] = curve = Curve([(0.0, 0.0)])
            for at, in_flight, _ in run.curve:
                if at >= curve.seconds + _STEP or at == run.now:
                    curve.points.append((at, float(in_flight)))
        panels[f"{VMS} VMs, server {late} ms late"] = curves
        hand = runs["by hand"].now
        ratios = ", ".join(f"{name} {run.now:.3f} s ({run.now / hand:.2f}x)" for name, run in runs.items())
        print(f"{late} ms late: {ratios}")
    return panels


def main() -> None:
    """Simulate or measure, and write the drawing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description="How the window opens.")
    parser.add_argument("--measured", action="store_true", help="measure real requests instead of simulating them")
    parser.add_argument("target", nargs="?", type=Path, default=Path("window.svg"), metavar="FILE.svg")
    arguments = parser.parse_args()
    if not arguments.measured:
        arguments.target.write_text(drawn(_simulated_panels()))
        return
    chosen = cores()
    with server.running() as (base_url, _), tempfile.TemporaryDirectory() as state:
        os.environ["ARKER_LEDGER"] = os.path.join(state, "ledger.sqlite3")
        if chosen is not None:
            pin(chosen[1])
        panels = run_bounded(_panels(base_url))
    arguments.target.write_text(drawn(panels))


if __name__ == "__main__":
    main()
