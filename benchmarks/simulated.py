"""A simulated fan-out, for the window of requests in flight alone: no noise, and the same curves on every machine.

One event loop sends the requests and reads the answers, each of which takes some of its time; the server is late by a
fixed time, and refuses what is more than it takes at once.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import Final

from attrs import define, field

from arker._transport.window import Window

SEND: Final = 0.00015
"""Seconds that the loop needs to send a request."""
READ: Final = 0.0001
"""Seconds that it needs to read an answer."""
STAGES: Final = 3
"""Requests of each VM, one after the other: fork, run, delete."""


@define
class Simulation:
    """500 VMs at once, each with its requests, on a server that is late.

    Attributes:
        late: Seconds until a good answer.
        window: The window of the client.
        takes: The most requests that the server takes at once.
        vms: The number of VMs.
        each: Requests of each VM, one after the other.
        now: The time, at the end the time that all of it took.
        refused: The number of refusals.
        curve: Moments, with the number of requests in flight and the window's size.
    """

    late: float
    window: Window
    takes: float = math.inf
    vms: int = 500
    each: int = STAGES
    now: float = 0.0
    refused: int = 0
    curve: list[tuple[float, int, float]] = field(factory=list[tuple[float, int, float]])
    _waiting: deque[int] = field(factory=deque[int], init=False)
    """For each VM whose next request waits, the number of requests that are left."""
    _answers: list[tuple[float, int, bool, int]] = field(factory=list[tuple[float, int, bool, int]], init=False)
    _work: list[float] = field(factory=list[float], init=False)
    _sent: int = 0

    def run(self) -> None:
        """Run until all is done."""
        self._waiting.extend([self.each] * self.vms)
        look: float | None = None
        while self._waiting or self._answers:
            self._send_what_may_be_sent()
            if not self._waiting:
                look = None
            elif look is None:
                look = self.window.opens_next(self.now)
            upcoming = self._answers[0][0] if self._answers else math.inf
            if look is not None and look < max(self.now, upcoming):
                due, look = look, None
                self.now = max(self.now, due)
                self._read_what_has_come()
                self.window.looked(self.now, late=self.now - due)
                self.window.waited(self.now)
            else:
                self.now = max(self.now, upcoming)
                self._read_what_has_come()

    def _send_what_may_be_sent(self) -> None:
        window = self.window
        while self._waiting and len(self._answers) < window.places and self.now >= window.opens_at:
            left = self._waiting.popleft()
            window.sent(self.now)
            self.now += SEND
            self._sent += 1
            while self._work and self._work[0] <= self.now:
                heapq.heappop(self._work)
            taken = len(self._work) < self.takes
            if taken:
                heapq.heappush(self._work, self.now + self.late)
            at = self.now + (self.late if taken else 0.001)  # who is asked too much says so at once
            heapq.heappush(self._answers, (at, self._sent, taken, left))
            self._note()

    def _read_what_has_come(self) -> None:
        come = self.now
        while self._answers and self._answers[0][0] <= come:
            _, _, taken, left = heapq.heappop(self._answers)
            self.now += READ
            if taken:
                self.window.answered(self.now)
                if left > 1:
                    self._waiting.append(left - 1)
            else:
                self.refused += 1
                self._waiting.appendleft(left)
                self.window.refused(self.now, in_flight=len(self._answers), retry_after=None)
            self._note()

    def _note(self) -> None:
        self.curve.append((self.now, len(self._answers), self.window.size))


def simulated(
    late: float, *, round_trip: float | None = None, takes: float = math.inf, size: float | None = None
) -> Simulation:
    """Simulate it, and return the simulation when all is done.

    Args:
        late: Seconds until a good answer.
        round_trip: The network's round trip in seconds, if the client comes to know it.
        takes: The most requests that the server takes at once.
        size: The size that the window begins with.
    """
    simulation = Simulation(late, _window(round_trip, size), takes)
    simulation.run()
    return simulation


def simulated_fleet(late: float, *, round_trip: float | None = None, size: float | None = None) -> float:
    """Return how long a fleet takes, whose VMs all exist before the first is used, and until the last was used.

    The arguments are those of `simulated`.
    """
    window, now = _window(round_trip, size), 0.0
    for _ in range(STAGES):
        simulation = Simulation(late, window, each=1, now=now)
        simulation.run()
        now = simulation.now
    return now


def _window(round_trip: float | None, size: float | None) -> Window:
    window = Window(512) if size is None else Window(512, size=size)
    if round_trip is not None:
        window.learn_round_trip(round_trip)
    return window


__all__ = ["Simulation", "simulated", "simulated_fleet"]
