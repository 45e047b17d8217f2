"""Rows that are measured several times: the median of each, and how far its runs lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from attrs import evolve, frozen

from benchmarks.measure import Bound, Row, amount


@frozen
class Repeated:
    """The measurements of one row.

    Attributes:
        rows: One of each run, with its bound.
        bound: The bound; None for a row that is only shown.
    """

    rows: Sequence[Row]
    bound: Bound | None

    @property
    def median(self) -> Row:
        """The row of the medians: each of its numbers is one of its own, and they may come from different runs."""
        middle = sorted(self.rows, key=lambda row: row.ratio)[(len(self.rows) - 1) // 2]
        return evolve(
            middle,
            limit=statistics.median(row.limit for row in self.rows),
            ours=statistics.median(row.ours for row in self.rows),
            ratio=statistics.median(row.ratio for row in self.rows),
        ).bounded(self.bound)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of its line in the table, see `markdown`."""
        median = self.median
        ours, ratios = [row.ours for row in self.rows], [row.ratio for row in self.rows]
        within = sum(row.met for row in self.rows)
        verdict = "met" if median.met else "**missed**"
        return (
            f"`{median.name}`",
            median.title,
            amount(median.limit, median.unit),
            amount(median.ours, median.unit),
            f"{amount(min(ours), median.unit)} to {amount(max(ours), median.unit)}",
            f"{median.ratio:.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            median.target.replace("<= ", "≤ ") if self.bound is not None else "",
            f"{verdict} ({within} of {len(self.rows)})" if self.bound is not None else "",
        )


_HEADS = ("row", "work", "limit", "ours", "from, to", "ratio", "from, to", "bound", "met")


def markdown(rows: Sequence[Repeated]) -> str:
    """Return the rows as a table in Markdown.

    Each has the medians of its limit, of ours and of the ratio, what the latter two were at least and at most, the
    bound, whether the median is within it, and how many runs were.
    """
    lines = [_HEADS, ("---",) * len(_HEADS), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


__all__ = ["Repeated", "markdown"]
