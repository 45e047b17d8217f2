"""The window of requests in flight, pure: moments and answers in, size and times out; and a simulated server."""

from __future__ import annotations

import heapq
import math

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from arker._transport.window import (
    GAP,
    GREAT_RELUCTANCE,
    INITIAL,
    LATE,
    LONGEST_PATIENCE,
    LOOK,
    PACE,
    PATIENCE,
    PUNCTUAL,
    RECOVERY,
    REFUSING,
    RELUCTANCE,
    ROUND_TRIPS,
    SLOWEST,
    SPARE,
    STEP,
    UNANSWERED,
    Window,
)
from benchmarks.simulated import simulated, simulated_fleet


def test_it_begins_small_and_never_beyond_its_ceiling() -> None:
    assert Window(512).places == INITIAL
    assert Window(7).places == 7
    window = Window(150)
    for _ in range(100):
        window.answered(0.0)
    spare_time(window, checks=100)
    assert window.places == 150


def spare_time(window: Window, now: float = 0.0, *, checks: int = SPARE) -> None:
    for _ in range(checks):
        window.looked(now, late=PUNCTUAL)


def test_good_answers_open_it_quickly_at_first() -> None:
    window = Window(10_000)
    for _ in range(INITIAL // 2):
        window.answered(0.0)
    spare_time(window)
    assert window.places == INITIAL + PACE  # as much as there is time for until the next check
    spare_time(window, checks=100)
    assert window.places == INITIAL + INITIAL // 2
    for _ in range(10 * INITIAL):
        window.answered(0.0)
    spare_time(window, checks=100)
    assert window.places == 2 * (INITIAL + INITIAL // 2)  # it doubles at most


def test_a_client_that_cannot_keep_up_opens_it_no_further() -> None:
    window = Window(10_000)
    for _ in range(INITIAL):
        window.answered(0.0)
    for _ in range(10):
        for _ in range(SPARE - 1):  # a moment in between says nothing
            window.looked(0.0, late=PUNCTUAL)
        window.looked(0.0, late=2 * PUNCTUAL)
    assert window.places == INITIAL
    spare_time(window)
    assert window.places == INITIAL + PACE
    spare_time(window, checks=100)
    assert window.places == 2 * INITIAL


def test_a_busy_client_opens_it_slowly_all_the_same() -> None:
    # A loop may always be late by a little without being busy, and timers may be coarse.
    assert _opened_though_busy(answers=INITIAL / 3) < 20 * RELUCTANCE


def test_a_busy_client_with_many_answers_opens_it_more_slowly_yet() -> None:
    # They come as quickly as it can read them: more connections would cost it time, and bring no more answers.
    assert 20 * RELUCTANCE < _opened_though_busy(answers=512) < 20 * GREAT_RELUCTANCE


def _opened_though_busy(*, answers: float) -> float:
    """Return the seconds until a busy client's window is open, given the number of answers in each half RELUCTANCE."""
    window, now = Window(512), 0.0
    while window.places < 512:
        for _ in range(int(answers)):
            window.answered(now)
        window.looked(now, late=2 * PUNCTUAL)
        assert now < 20 * GREAT_RELUCTANCE
        now += RELUCTANCE / 2
    return now


def test_a_short_silence_amid_answers_is_a_gap_between_them() -> None:
    window, now = Window(512), 1.0
    window.learn_round_trip(0.0001)
    window.answered(now)
    spare_time(window, now)
    assert window.places == INITIAL + 1
    window.sent(now)
    spare_time(window, now + GAP * 0.99)
    window.waited(now + GAP * 0.99)
    assert window.places == INITIAL + 1 + PACE
    window.looked(now + GAP, late=PUNCTUAL)
    window.waited(now + GAP)
    assert window.places == INITIAL + 1 + PACE + STEP


def test_time_in_which_nobody_listened_is_no_silence_but_the_rest_is() -> None:
    # Blocked for 30 ms out of 140: the silence takes longer to be one, and comes to its end, once all has been read.
    window, now = Window(512), 0.0
    window.sent(now)
    while window.places == INITIAL:
        now += 0.14
        window.looked(now, late=0.03)
        window.waited(now)
        assert window.places == INITIAL
        window.looked(now + LOOK, late=0.0)
        window.waited(now + LOOK)
        assert now < 2 * UNANSWERED
    assert now > UNANSWERED


def test_what_was_earned_before_a_refusal_opens_nothing_after_it() -> None:
    window = Window(512)
    for _ in range(INITIAL):
        window.answered(0.0)
    window.refused(0.0, in_flight=50, retry_after=None)
    spare_time(window)
    assert window.places == 50


def test_silence_opens_it_too_at_first() -> None:
    # Commands take long, and who is asked too much says so at once.
    window = Window(512)
    window.sent(1.0)
    assert window.opens_next(1.0) == 1.0 + LOOK
    window.waited(1.0 + UNANSWERED / 2)
    assert window.places == INITIAL
    window.looked(1.0 + UNANSWERED / 2, late=2 * LATE)  # the loop was busy until then
    window.waited(1.0 + UNANSWERED)
    assert window.places == INITIAL
    window.waited(1.0 + UNANSWERED * 3 / 2)
    assert window.places == INITIAL * 3 // 2


def test_a_refusal_closes_it_to_what_the_server_took() -> None:
    window = Window(512)
    for others in range(INITIAL - 1, 49, -1):  # the server takes 50: the others are refused, one after the other
        window.refused(0.0, in_flight=others, retry_after=None)
    assert window.places == 50
    window.refused(0.0, in_flight=60, retry_after=None)  # never opens it
    assert window.places == 50


def test_it_opens_by_one_after_a_while_and_after_longer_when_that_was_in_vain() -> None:
    window = Window(512)
    window.refused(0.0, in_flight=50, retry_after=None)
    now, patience = 0.0, PATIENCE
    for _ in range(8):
        for _ in range(200):
            window.answered(now + patience * 0.99)
        assert window.places == 50
        for _ in range(51):
            window.answered(now + patience)
        assert window.places == 51
        now += patience
        window.refused(now, in_flight=50, retry_after=None)
        assert window.places == 50
        patience = min(LONGEST_PATIENCE, patience * 2)


def test_it_opens_quickly_again_once_the_server_takes_far_more() -> None:
    window = Window(512)
    window.refused(0.0, in_flight=20, retry_after=None)
    answers = 0
    while window.places < 512:
        window.answered(PATIENCE)
        window.looked(PATIENCE, late=0.0)
        answers += 1
    assert answers < 3000


def test_waiting_opens_it_after_a_refusal_too_but_slowly() -> None:
    window = Window(512)
    window.refused(0.0, in_flight=20, retry_after=None)
    assert window.opens_next(0.0) == max(PATIENCE, RECOVERY)
    window.waited(0.5)
    assert window.places == 20
    window.waited(1.0)
    window.waited(1.5)
    assert window.places == 21
    window.waited(2.0)
    assert window.places == 22
    assert Window(5, size=5).opens_next(0.0) is None


def test_nothing_goes_before_the_moment_that_the_server_named() -> None:
    window = Window(512)
    window.refused(3.0, in_flight=10, retry_after=2.5)
    assert window.opens_at == 5.5
    assert window.opens_next(4.0) == 5.5
    window.waited(5.0)
    assert window.places == 10
    window.refused(4.0, in_flight=9, retry_after=0.5)  # an earlier moment does not replace it
    assert window.opens_at == 5.5


def test_deletions_that_are_refused_in_the_time_of_a_retry_after_close_it_no_further() -> None:
    window = Window(512)
    window.refused(3.0, in_flight=10, retry_after=60.0)
    sent, pauses = 3.5, list[float]()
    for _ in range(8):
        window.sent(sent)
        window.refused(sent + 0.01, in_flight=0, retry_after=None, deletion_sent=sent)
        pauses.append(window.opens_to_deletions_at - sent - 0.01)
        sent = window.opens_to_deletions_at
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, SLOWEST, SLOWEST])  # ever more rarely
    assert (window.places, window.spacing, window.opens_at) == (10, 0.0, 63.0)
    window.refused(62.0, in_flight=0, retry_after=None, deletion_sent=61.5)
    assert window.opens_to_deletions_at == window.opens_at  # what waits for both is not kept longer
    window.refused(64.0, in_flight=5, retry_after=60.0, deletion_sent=63.5)  # this one came when all could
    assert window.places == 5
    window.sent(64.5)
    window.refused(65.0, in_flight=0, retry_after=None, deletion_sent=64.5)
    assert window.opens_to_deletions_at == pytest.approx(65.05)  # another time begins anew


def test_deletions_that_were_refused_together_are_one_reason_for_a_pause() -> None:
    window = Window(512)
    window.refused(3.0, in_flight=10, retry_after=60.0)
    for _ in range(10):
        window.sent(4.0)
    for others in range(9, -1, -1):
        window.refused(4.01, in_flight=others, retry_after=None, deletion_sent=4.0)
    assert window.opens_to_deletions_at == pytest.approx(4.06)
    assert window.places == 10


def test_when_even_one_at_a_time_is_too_much_they_are_spaced() -> None:
    window = Window(512)
    spacings: list[float] = []
    for _ in range(10):
        window.refused(0.0, in_flight=0, retry_after=None)
        spacings.append(window.spacing)
    assert window.places == 1
    assert spacings == sorted(spacings)
    assert spacings[-1] == SLOWEST
    window.sent(100.0)
    assert window.opens_at == 100.0 + SLOWEST
    for _ in range(200):
        window.answered(200.0)
    assert window.spacing == 0.0


@pytest.mark.parametrize(("places", "to_wait"), [(1, 1), (2, 1), (3, 2), (8, 7), (64, 56), (512, 504)])
def test_some_places_are_kept_from_those_that_wait_for_work(places: int, to_wait: int) -> None:
    assert Window(512, size=float(places)).places_to_wait == to_wait


@define
class _Simulation:
    """A client with so many requests to send, and a server that takes so many at once and refuses the others."""

    capacity: int
    seconds: float
    requests: int
    window: Window
    refused: int = 0
    served: int = 0
    now: float = 0.0
    peak: int = 0

    def run(self) -> None:
        waiting, in_work, numbers = self.requests, 0, 0
        events: list[tuple[float, int, bool]] = []  # when, which, whether it was taken
        while self.served < self.requests:
            in_flight = len(events)
            while waiting and in_flight < self.window.places and self.now >= self.window.opens_at:
                self.window.sent(self.now)
                taken = in_work < self.capacity
                in_work += taken
                self.peak = max(self.peak, in_work)
                numbers += 1
                heapq.heappush(events, (self.now + (self.seconds if taken else 0.001), numbers, taken))
                waiting, in_flight = waiting - 1, in_flight + 1
            opens = self.window.opens_next(self.now) if waiting else None
            if events and (opens is None or events[0][0] <= opens):
                self.now, _, taken = heapq.heappop(events)
                if taken:
                    in_work -= 1
                    self.served += 1
                    self.window.answered(self.now)
                else:
                    waiting += 1
                    self.refused += 1
                    self.window.refused(self.now, in_flight=len(events), retry_after=None)
            else:
                assert opens is not None
                late, self.now = max(0.0, self.now - opens), max(opens, self.now)
                self.window.looked(self.now, late=late)
                self.window.waited(self.now)


@given(capacity=st.integers(1, 600), milliseconds=st.integers(2, 3000))
def test_every_request_is_served_whatever_the_server_takes(capacity: int, milliseconds: int) -> None:
    requests = 1500
    simulation = _Simulation(capacity, milliseconds / 1000, requests, Window(512))
    simulation.run()
    # The first burst may be refused, and later a few now and then; a server that refuses is not flooded.
    beyond_at_first = max(INITIAL - capacity, STEP)
    assert simulation.refused <= beyond_at_first + 60 + simulation.now / PATIENCE
    assert simulation.window.places <= max(INITIAL, 3 * capacity)
    assert simulation.peak <= capacity


@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.2])
def test_a_server_that_takes_fifty_is_kept_busy_and_refuses_few(seconds: float) -> None:
    simulation = _Simulation(50, seconds, 1500, Window(512))
    simulation.run()
    assert simulation.refused / (simulation.refused + 1500) < 0.05
    assert simulation.now < 1.5 * 1500 * seconds / 50 + 0.1


def test_a_server_without_limits_is_given_all_at_once() -> None:
    simulation = _Simulation(10_000, 5.0, 512, Window(512))
    simulation.run()
    assert simulation.peak == 512
    assert simulation.now < 5.0 + 10 * UNANSWERED
    assert not math.isinf(simulation.now)


@pytest.mark.parametrize("round_trip", [0.0001, 0.01, 0.03])
def test_a_known_round_trip_tells_how_soon_silence_means_that_nothing_is_refused(round_trip: float) -> None:
    window, enough = Window(512), ROUND_TRIPS * round_trip + REFUSING
    window.learn_round_trip(round_trip)
    window.sent(1.0)
    spare_time(window, 1.0 + enough / 2)
    window.waited(1.0 + enough / 2)
    assert window.places == INITIAL
    window.waited(1.0 + enough)
    assert window.places == INITIAL + STEP
    # Each further opening needs as much silence, and a loop that was punctual since.
    window.sent(1.0 + enough)
    window.waited(1.0 + 3 * enough)
    assert window.places == INITIAL + STEP
    window.looked(1.0 + 3 * enough, late=2 * PUNCTUAL)
    window.looked(1.0 + 3 * enough, late=PUNCTUAL)
    window.waited(1.0 + 3 * enough)
    assert window.places == INITIAL + STEP
    spare_time(window, 1.0 + 3 * enough)
    window.waited(1.0 + 3 * enough)
    assert window.places == INITIAL + 2 * STEP


def test_a_busy_loop_may_have_refusals_to_read_however_near_the_server_is() -> None:
    window, now = Window(512), 1.0
    window.learn_round_trip(0.0001)
    for _ in range(20):
        window.sent(now)
        window.looked(now, late=2 * PUNCTUAL)
        window.waited(now + 2 * REFUSING)
        now += RELUCTANCE / 4
    assert window.places == INITIAL


def test_a_server_far_away_gets_as_much_time_as_an_unknown_one_and_the_farthest_counts() -> None:
    window = Window(512)
    window.learn_round_trip(2.0)
    window.learn_round_trip(0.0001)
    window.sent(1.0)
    spare_time(window, 1.0 + UNANSWERED / 2)
    window.waited(1.0 + UNANSWERED * 0.99)
    assert window.places == INITIAL
    window.waited(1.0 + UNANSWERED)
    assert window.places == INITIAL + STEP


def test_a_refusal_ends_the_opening_by_silence() -> None:
    window = Window(512)
    window.learn_round_trip(0.0001)
    window.sent(1.0)
    window.refused(1.001, in_flight=50, retry_after=None)
    spare_time(window, 1.1)
    window.waited(1.1)
    assert window.places == 50


@pytest.mark.parametrize("late", [0.1, 0.3])
def test_a_late_server_nearby_is_kept_as_busy_as_by_hand(late: float) -> None:
    by_hand = simulated(late, size=512.0).now
    assert simulated(late, round_trip=0.0001).now < 1.05 * by_hand
    assert simulated(late).now > 1.2 * by_hand  # so the knowledge makes the difference


@pytest.mark.parametrize(("late", "most"), [(0.1, 1.1), (0.3, 1.05)])
def test_a_fleet_on_a_late_server_nearby_waits_little_at_its_beginning(late: float, most: float) -> None:
    assert simulated_fleet(late, round_trip=0.0001) < most * simulated_fleet(late, size=512.0)


@pytest.mark.parametrize("late", [0.02, 0.1, 0.3])
def test_a_late_server_nearby_that_takes_fifty_refuses_few(late: float) -> None:
    simulation = simulated(late, round_trip=0.0001, takes=50)
    assert simulation.refused / (simulation.refused + 1500) < 0.05
    assert simulation.now < 1.1 * 1500 * late / 50


@pytest.mark.parametrize("round_trip", [0.0001, 0.02, None])
@pytest.mark.parametrize("takes", [20, 50, 90, 120, 160, 225, 250, 300, 400])
def test_whatever_a_server_takes_it_refuses_few(takes: int, round_trip: float | None) -> None:
    for late in (0.02, 0.1, 0.3):
        simulation = simulated(late, round_trip=round_trip, takes=takes)
        assert simulation.refused / (simulation.refused + 1500) < 0.05
