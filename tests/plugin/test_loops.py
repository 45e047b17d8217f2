"""The fixture `arker` in whatever event loop a test has; a socket or a warning that is left fails the inner run."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run

ANYIO = """
import asyncio
import pytest
from arker import AsyncArker

@pytest.fixture
async def vm(arker):
    vm = await arker.fork("ubuntu")
    yield vm
    await vm.delete()

@pytest.mark.anyio
async def test_of_anyio(arker, counted):
    assert type(arker) is AsyncArker
    assert list(await arker.list_vms()) == []
    assert counted(1) == 1

@pytest.mark.anyio
async def test_of_anyio_with_an_async_fixture(vm):
    assert (await vm.run("echo hi")).stdout == b"hi\\n"

@pytest.fixture(scope="module")
async def keeps_the_loop():
    return asyncio.get_running_loop()

@pytest.mark.anyio
@pytest.mark.parametrize("number", range(2))
async def test_in_a_loop_that_goes_on_standing(arker, keeps_the_loop, number):
    assert asyncio.get_running_loop() is keeps_the_loop
    assert list(await arker.list_vms()) == []
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_plugin_of_anyio(run: Run, mode: str) -> None:
    tests = 'import pytest\n@pytest.fixture(scope="session")\ndef anyio_backend():\n    return "asyncio"\n' + ANYIO
    if mode == "auto":
        tests = tests.replace("@pytest.mark.anyio\n", "")
    run(tests, f"--anyio-mode={mode}").assert_outcomes(passed=4)


def test_several_backends_of_anyio(run: Run) -> None:
    """Those of asyncio work; another is refused with words of use."""
    ended = run(
        """
        import pytest

        @pytest.fixture(params=["asyncio", ("asyncio", {"debug": True}), "trio"])
        def anyio_backend(request):
            return request.param

        @pytest.mark.anyio
        async def test_it(arker):
            assert list(await arker.list_vms()) == []
        """
    )
    ended.assert_outcomes(passed=2, errors=1)
    ended.stdout.fnmatch_lines(["*the client works on asyncio, and this test runs on trio: define a fixture*"])


ASYNCIO = """
import asyncio
import pytest
import pytest_asyncio

@pytest_asyncio.fixture
async def vm(arker):
    vm = await arker.fork("ubuntu")
    yield vm
    await vm.delete()

@pytest.mark.asyncio
async def test_it(arker, counted):
    assert list(await arker.list_vms()) == []
    assert counted(1) == 1

@pytest.mark.asyncio
async def test_with_an_async_fixture(vm):
    assert (await vm.run("echo hi")).stdout == b"hi\\n"

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", range(2))
async def test_in_a_loop_that_goes_on_standing(arker, number):
    assert list(await arker.list_vms()) == []

class TestOfAClass:
    @pytest.mark.asyncio(loop_scope="session")
    async def test_it(self, arker):
        assert list(await arker.list_vms()) == []
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio(run: Run, mode: str) -> None:
    tests = ASYNCIO
    if mode == "auto":
        tests = tests.replace("@pytest.mark.asyncio\n", "").replace("@pytest_asyncio.fixture", "@pytest.fixture")
    run(tests, f"--asyncio-mode={mode}", asyncio=True).assert_outcomes(passed=5)


def test_both_plugins_in_one_run(run: Run) -> None:
    run(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_of_pytest_asyncio(arker):
            assert list(await arker.list_vms()) == []

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_of_anyio(arker, anyio_backend):
            assert list(await arker.list_vms()) == []
        """,
        asyncio=True,
    ).assert_outcomes(passed=2)


def test_loops_of_the_tests_own(run: Run) -> None:
    run(
        """
        import asyncio
        import threading
        import pytest

        def test_one_after_the_other(arker):
            assert list(asyncio.run(arker.list_vms())) == []
            assert list(asyncio.run(arker.list_vms())) == []

        @pytest.fixture
        def standing(counted):
            loop = asyncio.new_event_loop()
            yield loop
            assert counted(0) == 0
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        def test_one_that_stands_still(standing, arker, counted):
            assert list(standing.run_until_complete(arker.list_vms())) == []
            assert counted(1) == 1

        @pytest.fixture
        def elsewhere(counted):
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            yield loop
            open_still = counted(0)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            assert open_still == 0

        def test_one_that_runs_in_another_thread(elsewhere, arker, counted):
            assert list(asyncio.run_coroutine_threadsafe(arker.list_vms(), elsewhere).result(10)) == []
            assert counted(1) == 1

        def test_three_at_once(elsewhere, standing, arker, counted):
            assert list(asyncio.run(arker.list_vms())) == []
            assert list(standing.run_until_complete(arker.list_vms())) == []
            assert list(asyncio.run_coroutine_threadsafe(arker.list_vms(), elsewhere).result(10)) == []
            assert counted(2) == 2

        def test_without_a_request(arker):
            assert arker.base_url

        def test_a_client_that_the_test_closes(arker):
            asyncio.run(arker.aclose())

        def test_work_that_is_left_undone(standing, arker, counted):
            async def leave():
                vm = await arker.fork("ubuntu")
                task = asyncio.ensure_future(vm.run("sleep 100"))
                await asyncio.sleep(0.2)
                return task
            task = standing.run_until_complete(leave())
            assert not task.done()
            task.add_done_callback(lambda task: task.exception())
        """
    ).assert_outcomes(passed=7)
