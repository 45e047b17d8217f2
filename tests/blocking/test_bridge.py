"""How calls get into the loop and back: callbacks, threads, functions in threads, the end of a client."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import pickle
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from arker import ApiError, ArkerError, ConfigurationError, Hooks, NotFoundError, RequestEvent, RetryPolicy
from arker.emulator import Emulator
from arker_sync import VM, Arker, Items
from arker_sync._bridge.call import Call, current_call
from arker_sync._bridge.callbacks import feed, relay
from arker_sync._bridge.facade import twin
from arker_sync._bridge.lease import Lease
from arker_sync._bridge.workers import in_threads
from tests.support.waiting import PATIENCE, block_until, until


def hooked(emulator: Emulator, **hooks: Any) -> Arker:
    return Arker(**emulator.client_options, hooks=Hooks(**hooks))


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_hooks_are_called_in_the_caller_s_thread_before_the_call_returns(emulator: Emulator) -> None:
    events: list[tuple[str, str]] = []
    span = contextvars.ContextVar("span", default="none")

    def told(event: RequestEvent) -> None:
        assert threading.current_thread() is threading.main_thread()
        events.append((event.operation, span.get()))

    with hooked(emulator, on_request=told) as ar:
        span.set("first")
        vm = ar.fork("ubuntu")
        assert events == [("fork", "first")]
        span.set("second")
        vm.run("true")
        assert events[1:] == [("vm.run", "second")]


def test_a_hook_may_call_back_in(emulator: Emulator) -> None:
    seen: list[object] = []

    def told(event: RequestEvent) -> None:
        if event.operation == "fork":
            seen.append(len(ar.list_vms()))

    with hooked(emulator, on_request=told) as ar:
        ar.fork("ubuntu")
        ar.fork("ubuntu")
    assert seen == [1, 2]


def test_a_hook_that_raises_breaks_nothing(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    def told(event: RequestEvent) -> None:
        raise LookupError("the hook's own")

    with hooked(emulator, on_request=told) as ar:
        ar.fork("ubuntu").run("true")
    complaints = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert complaints == ["the hook on_request raised LookupError; what it raises from now on is not logged"]


def test_what_is_told_outside_of_every_call_comes_in_a_thread_of_its_own(lease: Lease) -> None:
    told: list[tuple[str, bool]] = []
    arrived = threading.Event()

    def callback(value: str) -> None:
        told.append((value, threading.current_thread() is threading.main_thread()))
        if value == "later":
            arrived.set()

    deliver = relay("progress", callback)
    going_on: list[asyncio.Task[None]] = []

    over = threading.Event()

    async def later() -> None:
        await until(over.is_set)
        deliver("later")

    async def work() -> None:
        going_on.append(asyncio.create_task(later()))
        deliver("at once")

    lease.call(work())
    assert told == [("at once", True)]
    over.set()
    assert arrived.wait(timeout=PATIENCE)
    assert told == [("at once", True), ("later", False)]


@pytest.mark.parametrize("error", [SystemExit("the program's own"), KeyboardInterrupt()])
def test_the_thread_for_callbacks_outlives_what_ends_a_thread(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    arrived = threading.Event()

    def callback(value: str) -> None:
        if value == "raise":
            raise error
        arrived.set()

    deliver = relay("progress", callback)
    deliver("raise")
    deliver("go on")
    assert arrived.wait(timeout=PATIENCE)
    kind = type(error).__name__
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"a callback in a thread of its own raised {kind}"
    ]


def test_what_is_no_function_is_left_as_it_is() -> None:
    assert relay("progress", None) is None
    assert relay("progress", 7) == 7
    assert in_threads(7, VM, None) == 7  # type: ignore[arg-type]


# --- calls ------------------------------------------------------------------------------------------------------------


class _Result:
    pass


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_a_result_leaves_memory_without_a_collection_of_garbage(lease: Lease, no_collection: None) -> None:
    async def work() -> _Result:
        return _Result()

    kept = weakref.ref(lease.call(work()))
    block_until(lambda: kept() is None)  # the loop's thread lets its task go a moment later


def test_an_item_leaves_memory_without_a_collection_of_garbage(lease: Lease, no_collection: None) -> None:
    async def work() -> AsyncIterator[_Result]:
        yield _Result()
        yield _Result()

    items = Items(work(), lease, weakref.ref)
    kept = next(items)
    block_until(lambda: kept() is None)
    items.close()


def test_callbacks_of_work_that_no_caller_waits_for(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Call[Any]] = []  # and not let go of, as by a thread that is slow to return
    start = Call[Any].start

    def start_slowly(call: Call[Any]) -> None:
        started.append(call)
        start(call)

    async def nothing() -> None:
        pass

    def note(_: int) -> None:
        told.set()

    told, fed = threading.Event(), threading.Event()
    tell = relay("progress", note)

    async def work() -> None:
        tell(1)
        async for _ in feed(iter([1])):
            fed.set()

    lease.call(nothing())  # the loop runs
    monkeypatch.setattr(Call, "start", start_slowly)
    lease.begin(work())
    assert told.wait(PATIENCE)
    assert fed.wait(PATIENCE)
    assert len(started) == 1


def test_a_call_in_the_loop_s_own_thread_is_refused(blocking: Arker, lease: Lease) -> None:
    vm = blocking.fork("ubuntu")

    async def work() -> str:
        with pytest.raises(ConfigurationError, match="it would wait for itself"):
            vm.run("true")
        return "refused"

    assert lease.call(work()) == "refused"


def test_a_logging_handler_that_calls_back_in_gets_an_error_and_nothing_stands_still(blocking: Arker) -> None:
    problems: list[ArkerError] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not problems:
                try:
                    blocking.list_vms()
                except ArkerError as error:
                    problems.append(error)

    handler = Handler(logging.DEBUG)
    logger = logging.getLogger("arker")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        blocking.fork("ubuntu")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert [type(problem) for problem in problems] == [ConfigurationError]


def test_errors_come_as_they_are_with_the_caller_s_lines_in_their_traceback(blocking: Arker) -> None:
    with pytest.raises(NotFoundError) as raised:
        blocking.get_vm("missing")
    assert raised.value.operation == "get_vm"
    assert "get_vm" in [entry.name for entry in raised.traceback]


def test_what_cannot_be_pickled_says_so(blocking: Arker) -> None:
    for thing in (blocking, blocking.vm("some")):
        with pytest.raises(TypeError, match="let the other process make a client of its own"):
            pickle.dumps(thing)


def test_how_they_look(blocking: Arker, emulator: Emulator) -> None:
    assert repr(blocking) == f"<Arker {emulator.url}>"
    assert repr(blocking.vm("some")) == f"<VM some at {emulator.url}>"
    blocking.close()
    assert repr(blocking) == f"<Arker {emulator.url}, closed>"


def test_a_client_that_is_closed_amid_the_calls_of_other_threads(emulator: Emulator) -> None:
    ended: list[BaseException | None] = []
    ar = Arker(**emulator.client_options)
    vm = ar.fork("ubuntu")

    def work() -> None:
        try:
            vm.run("sleep 60")
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(vm.list_runs(state="running")) < 1:
        time.sleep(0.01)
    ar.close()
    for thread in threads:
        thread.join(timeout=30)
    assert len(ended) == 3
    assert all(isinstance(error, ArkerError) for error in ended), ended
    with Arker(**emulator.client_options) as other:
        other.vm(vm.id).delete()


# --- functions in threads ---------------------------------------------------------------------------------------------


def test_functions_run_in_threads_and_use_the_client(blocking: Arker, lease: Lease) -> None:
    vm = blocking.fork("ubuntu")

    def function(handle: VM, item: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        assert isinstance(handle, VM)
        return int(handle.run(f"echo $(({item} * 2))").stdout_text)

    async def work() -> list[int]:
        carried: Callable[[object, int], Awaitable[int]] = in_threads(function, VM, lease)
        return await asyncio.gather(*(carried(twin(vm), item) for item in range(5)))

    assert lease.call(work()) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("error", [LookupError("its own"), StopIteration("odd"), asyncio.CancelledError("odd")])
def test_what_a_function_raises(blocking: Arker, lease: Lease, error: BaseException) -> None:
    def function(handle: VM, item: int) -> None:
        raise error

    async def work() -> BaseException:
        try:
            await in_threads(function, VM, lease)(twin(blocking.vm("some")), 1)
        except (LookupError, RuntimeError, asyncio.CancelledError) as raised:
            return raised.__cause__ or raised
        raise AssertionError

    assert lease.call(work()) is error


def test_a_function_whose_task_is_cancelled_has_its_call_cancelled(blocking: Arker, lease: Lease) -> None:
    vm = blocking.fork("ubuntu")
    ended: list[BaseException] = []
    after: list[str] = []

    def function(handle: VM, item: int) -> None:
        try:
            handle.run("sleep 60")
        except BaseException as error:
            ended.append(error)
            after.append(handle.files.read_text("/etc/hostname"))  # as in a coroutine, what comes then is not cancelled

    async def work() -> None:
        task = asyncio.ensure_future(in_threads(function, VM, lease)(twin(vm), 1))
        while not (await twin(vm).list_runs(state="running")).runs:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    lease.call(work())
    assert [type(error) for error in ended] == [asyncio.CancelledError]
    assert len(after) == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_ends_the_loop_for_nobody_else(blocking: Arker, kind: type[BaseException]) -> None:
    class Ending:
        def write(self, data: bytes) -> int:
            raise kind("the file's own")

        def read(self, size: int) -> bytes:
            raise kind("the file's own")

    vm = blocking.fork("ubuntu")
    vm.sync("f", b"content")
    with ThreadPoolExecutor() as pool:
        other = pool.submit(vm.run, "until test -e go; do sleep 0.02; done; echo end")
        with pytest.raises(kind, match="the file's own"):
            vm.download("f", Ending())
        with pytest.raises(kind, match="the file's own"):
            vm.upload(Ending(), "f")
        vm.sync("go", b"")
        assert other.result(PATIENCE).stdout == b"end\n"


def test_nothing_of_a_call_is_known_outside_of_calls() -> None:
    assert current_call() is None


def test_a_hook_is_told_of_retries(emulator: Emulator) -> None:
    retries: list[str] = []
    hooks = Hooks(on_retry=lambda event: retries.append(type(event.error).__name__))
    quick = RetryPolicy(base_delay=0.001, max_delay=0.001, jitter=0.0)
    with Arker(**emulator.client_options, retry=quick, hooks=hooks) as ar:
        with emulator.faults.error(operation="fork", status=503, code="unavailable", times=2):
            ar.fork("ubuntu")
        with emulator.faults.error(operation="list_vms", status=500, code="internal"), pytest.raises(ApiError):
            ar.list_vms()
    assert retries == ["UnavailableError", "UnavailableError"]
