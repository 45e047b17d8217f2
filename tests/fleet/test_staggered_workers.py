"""Workers begin in step with the client's window."""

from __future__ import annotations

import asyncio

import pytest

from arker._fleets.staggered_workers import AHEAD, STEP, StaggeredWorkers
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Crowd:
    """Workers that wait until they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0

    def begin(self) -> asyncio.Task[None]:
        self.begun += 1
        return asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await self.go.wait()


async def test_as_many_begin_at_once_as_may_have_a_request_in_flight() -> None:
    crowd, places = Crowd(), 300
    workers = StaggeredWorkers(crowd.begin, 2000, places=lambda: places)
    workers.start()
    assert crowd.begun == 300 + AHEAD
    await until(lambda: crowd.begun > 300 + AHEAD)
    assert (crowd.begun - 300 - AHEAD) % STEP == 0
    # The window opens: a step has all that it takes.
    before, places = crowd.begun, 1000
    await until(lambda: crowd.begun != before)
    assert crowd.begun >= 1000 + AHEAD
    crowd.go.set()
    await workers.over
    assert crowd.begun < 2000  # the first that found nothing to do has ended it


async def test_no_more_begin_than_there_are() -> None:
    crowd = Crowd()
    workers = StaggeredWorkers(crowd.begin, 5, places=lambda: 100)
    workers.start()
    assert crowd.begun == 5
    crowd.go.set()
    await workers.over
    assert not workers.tasks


async def test_no_more_begin_once_it_is_closed() -> None:
    """A worker may do so where tasks begin at once, as those of `asyncio.eager_task_factory` do."""
    crowd = Crowd()

    def begin() -> asyncio.Task[None]:
        task = crowd.begin()
        if crowd.begun == 3:
            workers.cancel()
        return task

    workers = StaggeredWorkers(begin, 5, places=lambda: 100)
    workers.start()
    assert crowd.begun == 3
    crowd.go.set()
    await workers.over
    await until(lambda: not workers.tasks)


async def test_who_else_has_them_from_beginning_to_end() -> None:
    crowd = Crowd()
    others = {asyncio.get_running_loop().create_task(asyncio.sleep(0))}
    among: set[asyncio.Task[None]] = set(others)
    left: list[int] = []
    workers = StaggeredWorkers(
        crowd.begin, 3, places=lambda: 100, among=among, ended=lambda: left.append(len(workers.tasks))
    )
    workers.start()
    assert among == workers.tasks | others
    next(iter(workers.tasks)).cancel()  # before its first step
    await workers.over
    assert isinstance(workers.error, asyncio.CancelledError)
    assert among == workers.tasks | others
    crowd.go.set()
    await until(lambda: among == others)
    assert left == [2, 1, 0]
    await asyncio.wait(others)
