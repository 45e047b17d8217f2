"""The plan of a fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from arker.reports import FleetProgress

if TYPE_CHECKING:
    from arker.models import ForkRequest


@frozen(kw_only=True)
class Plan:
    """The plan of a fleet.

    Attributes:
        request: The fork request of each VM.
        count: The number of VMs wanted.
        at_least: The smallest acceptable number of VMs.
        max_concurrency: The most concurrent forks or deletions.
        name_prefix: The prefix of the VMs' names.
        replace: Whether to fork a new VM for each one that died.
        ttl: Seconds after which each VM is deleted.
        deadline: Seconds for forking them all.
        progress: Called for each VM that was forked or deleted.
    """

    request: ForkRequest
    count: int
    at_least: int
    max_concurrency: int
    name_prefix: str | None
    replace: bool
    ttl: float | None
    deadline: float | None
    progress: Callable[[FleetProgress], object] | None


__all__ = ["Plan"]
