"""The thread that writes a ledger: it commits all pending records in one transaction."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from arker._ledger import process_locks
from arker._ledger.waiters import Batch, Waiters, resolve_all
from arker._tasks import clock
from arker._tasks.process import hand_in, keep_in_child

if TYPE_CHECKING:
    from arker._ledger.statements import Identity, Operation
    from arker._ledger.store import Store

T = TypeVar("T")

logger = logging.getLogger("arker")

GATHER_SECONDS: Final = 0.1
"""Seconds after which a record without waiters is committed."""
BRIEF_SECONDS: Final = 0.01
"""The same for records that matter if the program is killed right away, such as a VM's id."""
PAUSE_SECONDS: Final = 0.05
"""The least seconds between two commits of such records alone: a commit costs as much as many records."""
IDLE_SECONDS: Final = 5.0
"""Seconds without work after which the thread ends and the file is closed."""
RETRY_SECONDS: Final = 5.0
"""Seconds from a failure to the next attempt."""
PATIENCE: Final = 5.0
"""Bound on the time that a fork waits for the ledger, in seconds."""
MAX_QUEUE: Final = 100_000
"""Operations that are kept for later while the file cannot be written; older ones are dropped."""

LATER: Final = 0
"""The urgency of records that may wait for `GATHER_SECONDS`."""
SOON: Final = 1
"""The urgency of records that may wait for `BRIEF_SECONDS`."""
AT_ONCE: Final = 2
"""The urgency of records that wait for nothing."""
_UNTOLD: Final = -1
"""Less than any urgency: the thread must be told of all."""


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
        self.client = os.urandom(8).hex()
        # Taken by itself where its condition need not be told: a Condition's own way to its lock is in Python.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._queue: deque[Operation] = deque(maxlen=MAX_QUEUE)
        self._waiting: Batch = {}
        # The greatest urgency that the thread has been told of since it last took the queue.
        self._told = _UNTOLD
        self._paused_until = 0.0
        self._thread: threading.Thread | None = None
        self._no_thread: RuntimeError | None = None
        self._ending = False
        self._leaving = False
        self.used = False  # whether it may have rows
        self._off = False  # permanently
        self._failing = False  # for now: forks do not wait
        self._retry_at = 0.0
        # SQLite is used with this lock held, so that `os.fork()` can wait for a moment without it.
        self._store_lock = threading.Lock()
        self._store: Store | None = None
        self._owner: str | None = None

    def put(self, operation: Operation, urgency: int = LATER) -> None:
        """Add an operation to those that are to be written."""
        with self._lock:
            if self._off:
                return
            self._queue.append(operation)
            if urgency <= self._told or self._tell(urgency):
                return
        self._fail_to_start()

    def put_and_wait(self, operation: Operation | None, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Add an operation; return what is done when all that was added so far is on disk (or cannot be).

        Args:
            operation: The operation; None to add nothing.
            loop: The running loop.
        """
        future: asyncio.Future[None] = loop.create_future()
        told = True
        with self._lock:
            if operation is not None:
                self._queue.append(operation)
            if self._failing and (self._off or not self._ending):
                # Forks do not wait for a commit that may take long or never happen.
                future.set_result(None)
                self._tell(LATER)
                return future
            waiters = self._waiting.get(loop)
            if waiters is None:
                waiters = self._waiting[loop] = Waiters()
                waiters.bound = clock.call_later(loop, PATIENCE, self._give_up_waiting, waiters)
                told = self._tell(AT_ONCE)
            elif self._ending:
                self._tell(AT_ONCE)  # it may be waiting for its next attempt
            waiters.futures.append(future)
        if not told:
            self._fail_to_start()
        return future

    def _tell(self, urgency: int) -> bool:
        """Tell the thread of an operation, with the lock held. Return False if there is none, and none can start."""
        if self._off:
            self._queue.clear()
            return True
        if self._thread is None and not self._start():
            return False
        self._told = max(self._told, urgency)
        self._changed.notify()
        return True

    def _start(self) -> bool:
        thread = threading.Thread(target=self._work, name="arker-ledger", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many threads, or the interpreter is about to end
            resolve_all(self._waiting)
            self._waiting = {}
            self._no_thread = None if "shutdown" in str(error) else error
            return False
        self._thread = thread
        return True

    def _fail_to_start(self) -> None:
        """Warn that no thread can be started, without the lock; not if the interpreter is about to end."""
        if self._no_thread is not None:
            self._fail(self._no_thread, for_good=False)

    def _give_up_waiting(self, waiters: Waiters) -> None:
        self._fail("it takes too long", for_good=False)
        waiters.resolve()

    @property
    def works(self) -> bool:
        """Whether the file could be written the last time."""
        return not (self._failing or self._off)

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
            await self.put_and_wait(None, asyncio.get_running_loop())

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
                brief = self._told == SOON and not self._waiting
                operations, self._queue, self._told = self._queue, deque(maxlen=MAX_QUEUE), LATER
                ending = self._ending
                if not operations and (ending or not self._waiting):
                    # The next record in the queue starts another thread.
                    self._thread, self._told, self._ending = None, _UNTOLD, False
                    leaving, self._leaving = self._leaving, False
                    waiting, self._waiting = self._waiting, {}
                    break
                waiting = {}
                if not ending:
                    waiting, self._waiting = self._waiting, {}
            if operations:
                self._commit(operations, last=ending)
                if brief:
                    self._paused_until = clock.now() + PAUSE_SECONDS
            resolve_all(waiting)
        with self._store_lock:
            self._close_store()
            if leaving and not self._failing:
                self._leave()
        resolve_all(waiting)

    def _await_work(self) -> None:
        """Wait for work, with the lock held, but not beyond the time at which some is due."""
        if self._failing:
            self._sleep(self._retry_at - clock.now(), lambda: self._ending)
        if not self._queue:
            self._told = _UNTOLD
            self._sleep(IDLE_SECONDS, lambda: bool(self._queue or self._waiting or self._ending))
        if self._queue:
            self._sleep(GATHER_SECONDS, lambda: self._told >= SOON or self._is_pressing())
        if self._told >= SOON:
            self._sleep(max(BRIEF_SECONDS, self._paused_until - clock.now()), self._is_pressing)

    def _is_pressing(self) -> bool:
        return bool(self._waiting or self._ending or self._told == AT_ONCE)

    def _sleep(self, seconds: float, until: Callable[[], bool]) -> None:
        self._changed.wait_for(until, max(seconds, 0.0))

    def _commit(self, operations: Sequence[Operation], *, last: bool) -> None:
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
                    self._queue = deque((*operations, *self._queue), MAX_QUEUE)
        else:
            self._recover()

    def _recover(self) -> None:
        with self._lock:
            self._failing = False
            warned, self._warned = self._warned, False
        if warned:
            logger.warning("the ledger of forks %s is used again: VMs of this program are on record", self.path)

    def _write(self, operations: Sequence[Operation]) -> None:
        from arker._ledger import store  # `_commit` has loaded it

        for attempt in (1, 2):
            try:
                opened = self._open_store()
                if self._owner is not None:
                    process_locks.renew(self.path.parent)
                opened.apply(operations, self._identity)
                return
            except Exception as error:
                self._close_store()
                if attempt == 2 or not store.is_damage(error):
                    raise
                store.set_damaged_aside(self.path, error)

    def _open_store(self) -> Store:
        if self._store is not None and not self._store.is_in_place():
            self._close_store()
        if self._store is None:
            from arker._ledger.store import Store  # `_commit` has loaded it

            self._store = Store(self.path)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _identity(self) -> Identity:
        """Return who is recorded as the owner of new rows. From then on this process is one, until it leaves."""
        if self._owner is None:
            self._owner = process_locks.enter(self.path.parent)
        return self.account, self.client, self._owner, process_locks.this_host()

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
            self._commit(tuple(self._queue), last=True)
            self._close_store()


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

__all__ = ["AT_ONCE", "LATER", "SOON", "Writer"]
