"""The journal that tests read: requests, commands and forks, in memory, numbered and bounded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Generic, TypeVar

from arker.emulator.control.clock import Clock
from arker.emulator.control.entries import Execution, Fork
from arker.emulator.server.fault_matching import Facts, Firing
from arker.emulator.server.journal.trace import RequestRecord, Trace
from arker.emulator.server.records import RunRecord, VmRecord

REQUESTS: Final = 20_000
OTHERS: Final = 10_000
COMMAND_BOUND: Final = 4096
PATH_BOUND: Final = 2048
KEY_BOUND: Final = 255
"""Characters that are kept of a command, a path and a key."""


T = TypeVar("T", RequestRecord, Execution, Fork)


class Log(Generic[T]):
    """A log of the latest entries, oldest first. Numbers begin with 1, grow by 1, and are not used again."""

    def __init__(self, size: int, last: int = 0) -> None:
        self._entries: deque[T] = deque(maxlen=size)
        self._cleared = last
        self.last = last
        """The number of the latest entry, whether it is still there or not."""

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, make: Callable[[int], T]) -> T:
        """Add an entry, made from its number."""
        entry = make(self.last + 1)
        self.last += 1
        self._entries.append(entry)
        return entry

    def after(self, seq: int, limit: int) -> list[T]:
        """Return the entries with greater numbers, oldest first."""
        skipped = max(0, seq - (self.last - len(self._entries)))
        return list(islice(self._entries, skipped, skipped + limit))

    def dropped(self, seq: int) -> int:
        """Return how many entries with greater numbers were dropped for lack of room. Cleared entries do not count."""
        return max(0, self.last - len(self._entries) - max(seq, self._cleared))

    def clear(self) -> int:
        """Delete all entries. Returns how many there were."""
        count = len(self._entries)
        self._entries.clear()
        self._cleared = self.last
        return count


class Journal:
    """The logs of everything that the server remembers for tests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.requests: Log[RequestRecord] = Log(REQUESTS)
        self.executions: Log[Execution] = Log(OTHERS)
        self.forks: Log[Fork] = Log(OTHERS)

    def successor(self) -> Journal:
        """Return an empty journal that continues the numbers. Work in progress is still noted in this one."""
        journal = Journal(self._clock)
        journal.requests = Log(REQUESTS, self.requests.last)
        journal.executions = Log(OTHERS, self.executions.last)
        journal.forks = Log(OTHERS, self.forks.last)
        return journal

    def note_request(self, trace: Trace, facts: Facts, *, status: int, key: str | None, firing: Firing | None) -> None:
        """Note the final outcome of a request. Only the first call counts."""
        if trace.record is None:
            trace.record = self.requests.add(
                lambda seq: RequestRecord(
                    seq=seq,
                    request_id=trace.request_id,
                    t_ms=trace.t_ms,
                    method=facts.method,
                    path=facts.path[:PATH_BOUND],
                    operation=facts.operation or None,
                    status=status,
                    total_ms=round((time.perf_counter() - trace.begin) * 1000, 3),
                    idempotency_key=None if key is None else key[:KEY_BOUND],
                    vm_id=trace.vm_id,
                    run_id=trace.run_id,
                    fault_id=None if firing is None else firing.fault_id,
                    fault_ids=() if firing is None else tuple(fault.fault_id for fault in firing.faults),
                    processed=trace.processed,
                )
            )

    def note_execution(self, run: RunRecord, key: str | None) -> None:
        """Note that a command is being started."""
        self.executions.add(
            lambda seq: Execution(
                seq=seq,
                run_id=run.run_id,
                vm_id=run.vm.vm_id,
                idempotency_key=key,
                command=run.command[:COMMAND_BOUND],
                t_ms=self._clock.now_ms(),
            )
        )

    def note_fork(self, vm: VmRecord, source: str, key: str | None) -> None:
        """Note that a VM has been made."""
        self.forks.add(
            lambda seq: Fork(seq=seq, vm_id=vm.vm_id, source=source, idempotency_key=key, t_ms=vm.created_ms)
        )

    def clear(self) -> int:
        """Delete all entries. Returns how many there were. Numbering continues."""
        return self.requests.clear() + self.executions.clear() + self.forks.clear()


__all__ = ["Journal", "Log", "RequestRecord"]
