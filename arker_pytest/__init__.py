"""The pytest plugin of arker-async: an embedded backend for each test run, and clients for it.

pytest imports every installed plugin in every run, before coverage is measured. The plugin is therefore a separate
package and imports the client only inside the fixtures. (PYTEST_DONT_REWRITE: there are no assertions here.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from arker import AsyncArker
    from arker.emulator import Emulator, EmulatorOptions
    from arker_sync import Arker

_ISOLATIONS = ("auto", "bubblewrap", "none")
_LAST_REQUESTS = 30
"""Maximum number of requests in the report of a failed test."""
_TERMINATIONS = frozenset({"arker._tasks.termination", "arker_sync._bridge.termination"})
"""The modules that turn SIGTERM into `SystemExit`."""
_EMULATOR = pytest.StashKey["Emulator"]()
"""The key of the embedded backend in the stash of a test that has used it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command-line option and the ini setting for the isolation."""
    meaning = "how the VMs of the embedded backend are isolated: auto, bubblewrap or none (commands run unprotected)"
    parser.getgroup("arker", "Arker VMs").addoption("--arker-isolation", choices=_ISOLATIONS, help=meaning)
    parser.addini("arker_isolation", meaning, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Reject an invalid setting before any test runs."""
    isolation = config.getini("arker_isolation")
    if isolation and isolation not in _ISOLATIONS:
        raise pytest.UsageError(f"arker_isolation is {isolation!r}; expected one of {', '.join(_ISOLATIONS)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last requests to the server to the report of a failed test; end the run if SIGTERM has ended the test."""
    report = yield
    status = _terminated(call)
    # A worker of pytest-xdist may not end by itself: it ends with the process that has started it.
    if status is not None and not hasattr(item.config, "workerinput"):
        pytest.exit("SIGTERM", returncode=status)
    emulator = item.stash.get(_EMULATOR, None)
    if report.failed and emulator is not None:
        text = _last_requests(emulator)
        if text:
            report.sections.append(("arker requests", text))
    return report


def _terminated(call: pytest.CallInfo[None]) -> int | None:
    """Return the exit status if a client's block has turned SIGTERM into `SystemExit`; None otherwise.

    pytest takes any `SystemExit` for the failure of one test, and would go on with the next.
    """
    if call.excinfo is None or not isinstance(call.excinfo.value, SystemExit):
        return None
    innermost = call.excinfo.tb
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    code = call.excinfo.value.code
    is_ours = innermost.tb_frame.f_globals.get("__name__") in _TERMINATIONS
    return code if is_ours and isinstance(code, int) else None


def _last_requests(emulator: Emulator) -> str:
    """Return a line for each of the last requests, without queries, bodies and headers, which may contain secrets."""
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
    """Return the settings of the embedded backend. Override this fixture in your conftest.py.

    The value is an ``arker.emulator.EmulatorOptions`` or a mapping with its fields. ``--arker-isolation`` and
    ``arker_isolation`` take precedence over its isolation.
    """
    from arker.emulator import EmulatorOptions

    return EmulatorOptions()


class _Server:
    """The test run's server: another one takes its place when a test has closed it, or its process has ended."""

    def __init__(self, make: Callable[[], Emulator]) -> None:
        self._make = make
        self._emulator = self._started()

    def _started(self) -> Emulator:
        from arker.errors import EmulatorError

        emulator = self._make()
        reason = None
        try:
            emulator.__enter__()
        except EmulatorError as error:
            reason = error.message
        if reason is not None:
            # Each test that needs the server fails with only the server's own message.
            pytest.fail(reason, pytrace=False)
        return emulator

    def as_new(self) -> Emulator:
        """Return the server in its initial state."""
        from arker.errors import EmulatorError

        try:
            self._emulator.reset()
        except EmulatorError as error:
            if error.status:  # it lives, and says what it could not remove
                raise
            self._emulator.close()
            self._emulator = self._started()
        return self._emulator

    def close(self) -> None:
        self._emulator.close()


@pytest.fixture(scope="session")
def _arker_server(
    pytestconfig: pytest.Config, arker_emulator_options: EmulatorOptions | Mapping[str, Any]
) -> Iterator[_Server]:
    """Start the test run's server for the first test that needs it."""
    from arker.emulator import Emulator

    isolation = pytestconfig.getoption("arker_isolation") or pytestconfig.getini("arker_isolation")
    chosen = {"isolation": isolation} if isolation else {}

    def make() -> Emulator:
        if isinstance(arker_emulator_options, Mapping):
            return Emulator(**{**arker_emulator_options, **chosen})
        return Emulator(arker_emulator_options, **chosen)

    with closing(_Server(make)) as server:
        yield server


@pytest.fixture
def arker_emulator(request: pytest.FixtureRequest, _arker_server: _Server) -> Emulator:
    """Return the embedded backend in its initial state: an ``arker.emulator.Emulator``.

    One server serves the whole test run (with pytest-xdist, each worker has one). It is reset before each test that
    uses it: it has no VM, filesystem, run or idempotency key of another test. A test may close it; the next one gets
    another.
    """
    emulator = _arker_server.as_new()
    request.node.stash[_EMULATOR] = emulator
    return emulator


@pytest.fixture
def arker(request: pytest.FixtureRequest, arker_emulator: Emulator) -> Iterator[AsyncArker]:
    """Provide an ``arker.AsyncArker`` for `arker_emulator`.

    The client works in the test's event loop, from anyio's plugin, pytest-asyncio or the test itself. It is closed
    after the test.
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
    # The test's event loop may have ended or stopped, so nothing can be awaited here.
    client._transport.close_outside()  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def arker_sync(arker_emulator: Emulator) -> Iterator[Arker]:
    """Provide an ``arker_sync.Arker``, the blocking client, for `arker_emulator`."""
    from arker_sync import Arker

    with Arker(**arker_emulator.client_options) as client:
        yield client


__all__ = ["arker", "arker_emulator", "arker_emulator_options", "arker_sync"]
