"""How files are cut for their way, without a loop."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from arker._files.ranges import MAX_CONTENT, MAX_ENTRIES, MIB, Span, batches, missing, part_size, split
from arker.models import MAX_PUT_SIZE

TERABYTE = 2**40


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 5000))
def test_pieces_follow_each_other(start: int, length: int, size: int) -> None:
    pieces = split(start, start + length, size)
    assert [byte for low, high in pieces for byte in range(low, high)] == list(range(start, start + length))
    assert all(high - low == size for low, high in pieces[:-1])
    assert all(0 < high - low <= size for low, high in pieces)


@given(st.integers(1, 2 * TERABYTE), st.integers(1, 1000))
def test_a_part_can_be_put_and_all_can_be_asked_for(total: int, concurrency: int) -> None:
    size = part_size(total, concurrency)
    assert 8 * MIB <= size <= MAX_PUT_SIZE
    assert -(-total // size) <= max(MAX_ENTRIES, concurrency * 4)


def test_parts_of_usual_files() -> None:
    assert part_size(64 * MIB, 8) == 8 * MIB
    assert part_size(1024 * MIB, 8) == 32 * MIB
    assert part_size(6 * 1024 * MIB, 8) == 192 * MIB


@given(st.integers(0, 300), st.data())
def test_what_is_missing_and_what_is_held_are_the_file(size: int, data: st.DataObject) -> None:
    spans = st.tuples(st.integers(0, size), st.integers(0, size)).map(lambda pair: (min(pair), max(pair)))
    held: list[Span] = data.draw(st.lists(spans, max_size=8))
    gaps = missing(held, size)
    covered = {byte for low, high in held for byte in range(low, high)}
    assert [byte for low, high in gaps for byte in range(low, high)] == sorted(set(range(size)) - covered)
    assert all(low < high for low, high in gaps)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(gaps))


@given(st.lists(st.integers(0, 5 * MIB), max_size=1200))
def test_batches_keep_to_the_limits_and_the_order(sizes: list[int]) -> None:
    groups = batches(sizes)
    assert [number for group in groups for number in group] == list(range(len(sizes)))
    for group in groups:
        assert 1 <= len(group) <= MAX_ENTRIES
        assert sum(sizes[number] for number in group) <= MAX_CONTENT
    # No two neighbours would have fitted into one.
    for first, second in itertools.pairwise(groups):
        together = sum(sizes[number] for number in first) + sizes[second[0]]
        assert len(first) == MAX_ENTRIES or together > MAX_CONTENT


def test_a_file_that_is_too_large_goes_alone() -> None:
    assert batches([1, 20 * MIB, 1]) == [range(1), range(1, 2), range(2, 3)]
    assert batches([]) == []
