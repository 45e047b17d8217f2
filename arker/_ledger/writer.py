"""The thread that writes a ledger: it commits all pending records in one transaction."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from attrs import define, field

from arker._ledger import process_locks
from arker._tasks import clock
from arker._tasks.process import hand_in, keep_in_child

if TYPE_CHECKING:
    from arker._ledger.store import Operation, Store

T = TypeVar("T")

logger = logging.getLogger("arker")

GATHER_SECONDS: Final = 0.1
"""Seconds after which a record without waiters is committed."""
BRIEF_SECONDS: Final = 0.01
"""The same for records that matter if the program is killed right away, such as a VM's id."""
IDLE_SECONDS: Final = 5.0
"""Seconds without work after which the thread ends and the file is closed."""
RETRY_SECONDS: Final = 5.0
"""Seconds from a failure to the next attempt."""
PATIENCE: Final = 5.0
"""Bound on the time that a fork waits for the ledger, in seconds."""
MAX_QUEUE: Final = 100_000
"""Operations that are kept for later while the file cannot be written; older ones are dropped."""

_Asleep: TypeAlias = Literal["no", "briefly", "gathering", "idle"]


@define(eq=False)
class _Waiters:
    """The forks of one event loop that wait for the same commit."""

    futures: list[asyncio.Future[None]] = field(factory=list["asyncio.Future[None]"])
    bound: clock.Timer | None = None

    def resolve(self) -> None:
        if self.bound is not None:
            self.bound.cancel()
        for future in self.futures:
            if not future.done():
                future.set_result(None)


_Batch: TypeAlias = "dict[asyncio.AbstractEventLoop, _Waiters]"


class Writer:
    """A client's access to a ledger file. Its methods may be called from any thread.

    Attributes:
        path: The file.
        account: The account whose forks it records.
        client: Identifies this client among all, here and elsewhere; its copy in a process that was made by
            ``os.fork()`` has another.
        used: Whether this client may have rows in the file.
    """

    def __init__(self, path: Path, account: str) -> None:
        self.path = path
        self.account = account
        self._warned = False
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        """Reset to the state of a client that has written nothing, in a process without a writer thread."""
        self.client = os.urandom(16).hex()
        # Taken by itself where its condition need not be told: a Condition's own way to its lock is in Python.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._queue: list[Operation] = []
        self._waiting: _Batch = {}
        self._asleep: _Asleep = "no"
        self._thread: threading.Thread | None = None
        self._ending = False
        self._urgent = self._soon = False
        self._leaving = False
        self.used = False  # whether it may have rows
        self._off = False  # permanently
        self._failing = False  # for now: forks do not wait
        self._retry_at = 0.0
        # SQLite is used with this lock held, so that `os.fork()` can wait for a moment without it.
        self._store_lock = threading.Lock()
        self._store: Store | None = None
        self._owner: str | None = None

    def put(
        self,
        operation: Operation | None,
        loop: asyncio.AbstractEventLoop | None = None,
        future: asyncio.Future[None] | None = None,
        *,
        at_once: bool = False,
        soon: bool = False,
    ) -> None:
        with self._lock:
            self._urgent = self._urgent or at_once
            self._soon = self._soon or soon
            if self._off or (self._failing and not self._ending):
                # Forks do not wait for a commit that may take long or never happen.
                if future is not None:
                    future.set_result(None)
                if self._off:
                    return
            elif loop is not None and future is not None:
                waiters = self._waiting.get(loop)
                if waiters is None:
                    waiters = self._waiting[loop] = _Waiters()
                    waiters.bound = clock.call_later(loop, PATIENCE, self._give_up_waiting, waiters)
                waiters.futures.append(future)
            if operation is not None:
                self._queue.append(operation)
                if len(self._queue) > MAX_QUEUE:
                    del self._queue[: MAX_QUEUE // 10]
            if self._thread is None:
                self._start()
            elif (
                self._asleep == "idle"
                or (self._asleep == "gathering" and (soon or at_once or future is not None))
                or (self._asleep == "briefly" and (at_once or future is not None))
            ):
                self._changed.notify()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="arker-ledger", daemon=True)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:  # the interpreter is about to end
            for loop, waiters in self._waiting.items():
                _call(loop, waiters.resolve)
            self._waiting = {}

    def _give_up_waiting(self, waiters: _Waiters) -> None:
        self._fail("it takes too long", for_good=False)
        waiters.resolve()

    def may_have_rows(self) -> bool:
        """Return whether the file may have rows to change."""
        return self.used or (not self._off and self.path.exists())

    def end(self, *, release: bool) -> None:
        """End the thread when it has written the pending records. With ``release``, the client's rows are released."""
        with self._lock:
            if self._thread is not None or self._queue:
                self._ending, self._leaving = True, release

    async def flush(self) -> None:
        """Wait until all records are on disk (or cannot be)."""
        if self._thread is not None or self._queue:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self.put(None, loop, future)
            await future

    def read(self, read: Callable[[Store], T]) -> T:
        with self._store_lock:
            from arker._ledger.store import Store  # with the lock held: see `_commit`

            store = Store(self.path)
            try:
                return read(store)
            finally:
                store.close()

    # --- the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                self._await_work()
                operations, self._queue, self._urgent, self._soon = self._queue, [], False, False
                ending = self._ending
                if not operations and (ending or not self._waiting):
                    # The next record in the queue starts another thread.
                    self._thread, self._ending = None, False
                    leaving, self._leaving = self._leaving, False
                    waiting, self._waiting = self._waiting, {}
                    break
                waiting = {}
                if not ending:
                    waiting, self._waiting = self._waiting, {}
            if operations:
                self._commit(operations, last=ending)
            _resolve(waiting)
        with self._store_lock:
            self._close_store()
            if leaving and not self._failing:
                self._leave()
        _resolve(waiting)

    def _await_work(self) -> None:
        """Wait for work, with the lock held, but not beyond the time at which some is due."""
        if self._failing:
            self._sleep("gathering", self._retry_at - clock.now(), lambda: self._ending)
        if not self._queue:
            self._sleep("idle", IDLE_SECONDS, lambda: bool(self._queue or self._waiting or self._ending))
        if self._queue:
            self._sleep("gathering", GATHER_SECONDS, lambda: self._soon or self._is_pressing())
        if self._soon:
            self._sleep("briefly", BRIEF_SECONDS, self._is_pressing)

    def _is_pressing(self) -> bool:
        return bool(self._waiting or self._ending or self._urgent)

    def _sleep(self, kind: _Asleep, seconds: float, until: Callable[[], bool]) -> None:
        self._asleep = kind
        try:
            self._changed.wait_for(until, max(seconds, 0.0))
        finally:
            self._asleep = "no"

    def _commit(self, operations: list[Operation], *, last: bool) -> None:
        for_good = may_pass = False
        try:
            with self._store_lock:
                # With the lock held, so that no child of `os.fork()` gets half a module.
                from arker._ledger import store

                try:
                    self._write(operations)
                except Exception as error:
                    for_good = isinstance(error, store.UnusableError)
                    may_pass = store.may_pass(error)
                    raise
        except Exception as error:
            self._fail(error, for_good=for_good)
            if may_pass and not last:
                with self._lock:
                    self._queue[:0] = operations
        else:
            self._recover()

    def _recover(self) -> None:
        with self._lock:
            self._failing = False
            warned, self._warned = self._warned, False
        if warned:
            logger.warning("the ledger of forks %s is used again: VMs of this program are on record", self.path)

    def _write(self, operations: list[Operation]) -> None:
        from arker._ledger import store  # `_commit` has loaded it

        for attempt in (1, 2):
            try:
                self._open_store().apply([self._complete(operation) for operation in operations])
                return
            except Exception as error:
                self._close_store()
                if attempt == 2 or not store.is_damage(error):
                    raise
                store.set_damaged_aside(self.path, error)

    def _open_store(self) -> Store:
        if self._store is None:
            from arker._ledger.store import Store  # `_commit` has loaded it

            self._store = Store(self.path)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _complete(self, operation: Operation) -> Operation:
        name, parameters = operation
        if name not in ("intend", "left", "lives"):
            return operation
        if self._owner is None:
            self._owner = process_locks.enter(self.path.parent)
        return name, (*parameters, self.account, self.client, self._owner, process_locks.this_host())

    def _leave(self) -> None:
        """Release this process's ownership of the client's rows."""
        self.used = False
        if self._owner is not None:
            self._owner = None
            process_locks.leave(self.path.parent)

    def _fail(self, reason: object, *, for_good: bool) -> None:
        with self._lock:
            self._failing = True
            self._retry_at = clock.now() + RETRY_SECONDS
            self._off = self._off or for_good
            if self._off:
                self._queue.clear()
            warned, self._warned = self._warned, True
        if not warned:
            logger.warning(
                "the ledger of forks %s cannot be used: %s; VMs that this program may leave behind are not on record%s",
                self.path,
                reason,
                "" if self._off else f" until it can, which is tried every {RETRY_SECONDS:g} s, and told",
            )

    # --- the process forks, or ends -----------------------------------------------------------------------------------

    def before_fork(self) -> bool:
        """Close the connection to the file before a fork; return whether that succeeded within a second."""
        if not self._store_lock.acquire(timeout=1.0):
            return False
        self._close_store()
        return True

    def after_fork_in_parent(self) -> None:
        self._store_lock.release()

    def after_fork_in_child(self) -> None:
        """Reset in the child: the records, the thread and the waiters belong to the parent."""
        if self._store is not None:
            keep_in_child(self._store)
        self._begin()

    def before_exit(self) -> None:
        """Write the pending records within a moment, so that a kept VM does not look like one left behind."""
        with self._lock:
            self._ending = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(PATIENCE / 2)
        elif self._queue:  # no thread could be started any more
            self._commit(self._queue, last=True)
            self._close_store()


def _resolve(waiting: _Batch) -> None:
    for loop, waiters in waiting.items():
        _call(loop, waiters.resolve)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], Any]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # the loop is closed, so there are no waiters
        pass


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_held_back: dict[int, list[Writer]] = {}
"""By thread, since several may fork."""


def _before_fork() -> None:
    _held_back[threading.get_ident()] = [writer for writer in list(_writers) if writer.before_fork()]


def _after_fork_in_parent() -> None:
    for writer in _held_back.pop(threading.get_ident(), []):
        writer.after_fork_in_parent()


def _after_fork_in_child() -> None:
    _held_back.clear()
    for writer in list(_writers):
        writer.after_fork_in_child()


def _before_exit() -> None:
    for writer in list(_writers):
        writer.before_exit()


hand_in(
    "ledgers",
    before_fork=_before_fork,
    in_parent=_after_fork_in_parent,
    in_child=_after_fork_in_child,
    at_exit=_before_exit,
)

__all__ = ["Writer"]
