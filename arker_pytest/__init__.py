"""The pytest plugin of arker-async: a server of the API in each test run, and clients on it.

pytest imports every installed plugin in every run, before coverage is measured. So this is a package of its own, and
imports the client only inside the fixtures. (PYTEST_DONT_REWRITE: there are no assertions here.)
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from arker import AsyncArker
    from arker.emulator import Emulator, EmulatorOptions
    from arker_sync import Arker

_ISOLATIONS = ("auto", "bubblewrap", "none")
_LAST_REQUESTS = 30
"""How many requests the report of a failed test shows."""
_EMULATOR = pytest.StashKey["Emulator"]()
"""What a test that has used the embedded backend keeps of it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The command line's option, and the setting of the same meaning."""
    meaning = "how the VMs of the embedded backend are isolated: auto, bubblewrap or none (commands run unprotected)"
    parser.getgroup("arker", "Arker VMs").addoption("--arker-isolation", choices=_ISOLATIONS, help=meaning)
    parser.addini("arker_isolation", meaning, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a setting that is none before any test runs."""
    isolation = config.getini("arker_isolation")
    if isolation and isolation not in _ISOLATIONS:
        raise pytest.UsageError(f"arker_isolation is {isolation!r}; expected one of {', '.join(_ISOLATIONS)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the report of a failed test show what the server was asked last."""
    report = yield
    emulator = item.stash.get(_EMULATOR, None)
    if report.failed and emulator is not None:
        text = _last_requests(emulator)
        if text:
            report.sections.append(("arker requests", text))
    return report


def _last_requests(emulator: Emulator) -> str:
    """A line for each of the last requests: without queries, bodies and headers, which may hold secrets."""
    from arker.errors import ArkerError

    try:
        requests = emulator.journal.requests()
    except ArkerError as error:
        return f"not known: {error.message}"
    lines = [f"({len(requests) - _LAST_REQUESTS} before)"] if len(requests) > _LAST_REQUESTS else []
    for entry in requests[-_LAST_REQUESTS:]:
        fault = f"  fault {', '.join(entry.fault_ids)}" if entry.fault_ids else ""
        status = entry.status or "no reply"
        lines.append(f"{entry.method:<6} {entry.path[:200]}  {status}  {entry.total_ms:.1f} ms{fault}")
    return "\n".join(lines)


@pytest.fixture(scope="session")
def arker_emulator_options() -> EmulatorOptions | Mapping[str, Any]:
    """The settings of the embedded backend, for a project to override in its conftest.py.

    An ``arker.emulator.EmulatorOptions``, or a mapping with its fields. What ``--arker-isolation`` or
    ``arker_isolation`` says about isolation wins over it.
    """
    from arker.emulator import EmulatorOptions

    return EmulatorOptions()


@pytest.fixture(scope="session")
def _arker_server(
    pytestconfig: pytest.Config, arker_emulator_options: EmulatorOptions | Mapping[str, Any]
) -> Iterator[Emulator]:
    """The session's server, started by the first test that needs it."""
    from arker.emulator import Emulator
    from arker.errors import EmulatorError

    isolation = pytestconfig.getoption("arker_isolation") or pytestconfig.getini("arker_isolation")
    chosen = {"isolation": isolation} if isolation else {}
    if isinstance(arker_emulator_options, Mapping):
        emulator = Emulator(**{**arker_emulator_options, **chosen})
    else:
        emulator = Emulator(arker_emulator_options, **chosen)
    reason = None
    with ExitStack() as stack:
        try:
            stack.enter_context(emulator)
        except EmulatorError as error:
            reason = error.message
        if reason is not None:
            # Each test that needs the server fails, in the server's own words and no others.
            pytest.fail(reason, pytrace=False)
        yield emulator


@pytest.fixture
def arker_emulator(request: pytest.FixtureRequest, _arker_server: Emulator) -> Emulator:
    """The embedded backend, as new: an ``arker.emulator.Emulator``.

    One server serves the whole test run (with pytest-xdist, each worker has one). It is reset before each test that
    uses it: no VM, filesystem, run or idempotency key of another test is there.
    """
    _arker_server.reset()
    request.node.stash[_EMULATOR] = _arker_server
    return _arker_server


@pytest.fixture
def arker(request: pytest.FixtureRequest, arker_emulator: Emulator) -> Iterator[AsyncArker]:
    """An ``arker.AsyncArker`` on `arker_emulator`.

    It works in whatever event loop the test has: anyio's plugin, pytest-asyncio, or a loop of the test's own. What it
    has opened is closed after the test.
    """
    if "anyio_backend" in request.fixturenames:
        chosen = request.getfixturevalue("anyio_backend")
        backend = chosen if isinstance(chosen, str) else chosen[0]
        if backend != "asyncio":
            pytest.fail(
                f"the client works on asyncio, and this test runs on {backend}: define a fixture anyio_backend that "
                'returns "asyncio"',
                pytrace=False,
            )
    from arker import AsyncArker

    client = AsyncArker(**arker_emulator.client_options)
    yield client
    # The test's event loop may have ended by now, or stand still; there is none here to await anything in.
    client._transport.close_outside()  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def arker_sync(arker_emulator: Emulator) -> Iterator[Arker]:
    """An ``arker_sync.Arker``, the blocking client, on `arker_emulator`."""
    from arker_sync import Arker

    with Arker(**arker_emulator.client_options) as client:
        yield client


__all__ = ["arker", "arker_emulator", "arker_emulator_options", "arker_sync"]
