"""Fixtures of all tests: asyncio as the only backend, an environment without settings, and the watch for secrets."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from arker import AsyncArker, AsyncVM
from tests.support.clients import make_client
from tests.support.generations import GENERATIONS, lack
from tests.support.length import set_whole
from tests.support.secrets import DETECTOR, Detector, finish, install
from tests.support.server import ScriptedServer, ServerThread

pytest_plugins = ["arker_pytest", "pytester"]

# The tests start Python by the hundred, and pytest rewrites 150 modules: all of it would be compiled again each time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# No test trusts the system's certificates, and reading them all is a tenth of the start of each of these programs.
os.environ.update(SSL_CERT_FILE=os.devnull, SSL_CERT_DIR=os.devnull)

# How long an example takes depends on what else the machine does, and says nothing of what is tested.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_SETTINGS = (
    "ARKER_LEDGER",
    "ARKER_API_KEY",
    "AUTH_KEY",
    "ARKER_BASE_URL",
    "ARKER_REGION",
    "ARKER_PROVIDER",
    "ARKER_BURST_BASE_URL",
    "ARKER_CONTROL_BASE_URL",
    "ARKER_GENERATION",
    "ARKER_INSECURE_HOSTS",
    *(name for proxy in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (proxy, proxy.upper())),
)

# Python ignores the first ones itself, and `nohup` the last one, so that all goes on when a terminal is closed.
_LEFT_IGNORED = {getattr(signal, name, None) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ", "SIGHUP")}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options. They have to exist before the tests that use them are collected: see `tests.soak`."""
    group = parser.getgroup("soak")
    group.addoption(
        "--whole", action="store_true", help="every combination and example, not the suite's choice of them"
    )
    group.addoption("--soak-scale", type=float, default=0.01, help="share of the long tests' length; 1 is the whole")
    generations = parser.getgroup("generations")
    generations.addoption(
        "--generation",
        choices=GENERATIONS,
        default="both",
        help="the generation of the API that the session's embedded backend speaks",
    )
    group.addoption("--soak-seed", default="1", help="what the long tests' random numbers begin with")


def pytest_configure(config: pytest.Config) -> None:
    set_whole(bool(config.option.whole))
    _heed_signals()
    config.addinivalue_line(
        "markers", "needs(what): deselected where the backend lacks it; tests.support.generations has the reasons"
    )


def _heed_signals() -> None:
    """Ignore no signal but those that Python itself ignores, since programs that tests start would ignore it too.

    A shell ignores some for a job in the background, and ``perf record`` ignores another one for what it runs.
    """
    for number in signal.valid_signals():
        if number not in _LEFT_IGNORED and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without looking for garbage: the tests stay, and looking through them is a third of the work.

    Nor are they looked through later on, which would be a sixth of the work of the tests themselves.
    """
    gc.disable()
    try:
        _import_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Collect the garbage of each file of tests at its end, and look no more through what stays.

    Tests that collect it themselves have only their own to look through then, and none of what others have left.
    """
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.path != item.path:
            gc.collect()
            gc.freeze()


def _import_share(config: pytest.Config) -> None:
    """Import some modules of tests before all others, in each of several processes different ones.

    In a new checkout pytest rewrites and compiles them, which is most of the work of collecting; and what one process
    has written the others only read. Without this, each would do it all, at the same time.
    """
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is None:
        return
    directories = [path.resolve() for path in map(Path, config.args) if path.is_dir()]
    paths = sorted(path for directory in directories for path in directory.rglob("test_*.py"))
    for path in paths[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        with suppress(Exception, pytest.skip.Exception):  # collecting the module meets the same again, and reports it
            import_module(".".join(path.relative_to(config.rootpath).with_suffix("").parts))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of what the session's backend does not have, and say why."""
    spoken = config.option.generation
    apart: dict[pytest.Item, str] = {}
    for item in items:
        for mark in item.iter_markers("needs"):
            reason = lack(spoken, mark.args[0])
            if reason is not None:
                apart[item] = f"{mark.args[0]}: {reason}"
    if apart:
        config.hook.pytest_deselected(items=[*apart])
        items[:] = [item for item in items if item not in apart]
        config.stash[_APART] = Counter(apart.values())


_APART = pytest.StashKey[Counter[str]]()


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """List the reasons for which tests were deselected."""
    return [f"deselected: {count} ({reason})" for reason, count in config.stash.get(_APART, Counter[str]()).items()]


@pytest.fixture(scope="session")
def arker_emulator_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Return the settings of the session's embedded backend."""
    return {"generation": pytestconfig.option.generation}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Use one process more than there are processors: the tests spend a third of their time waiting."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state directory of the tests' user."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, state_home: Path) -> None:
    """Isolate the tests from the user's settings and state directory."""
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(state_home))


@pytest.fixture(scope="session")
def watch() -> Iterator[Detector]:
    """Run the detector of secrets during the whole session."""
    uninstall = install(DETECTOR)
    yield DETECTOR
    try:
        finish(DETECTOR)
    finally:
        uninstall()


@pytest.fixture(autouse=True)
def no_secret_shows(watch: Detector) -> Iterator[None]:
    """Fail the test in (or right after) which a secret appeared."""
    yield
    watch.verify()


@pytest.fixture(scope="session")
def server_thread() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.stop()


@pytest.fixture
def server(server_thread: ServerThread) -> Iterator[ScriptedServer]:
    """Return a scripted server. The test fails unless everything goes by its script."""
    server = ScriptedServer(server_thread)
    yield server
    server.close()
    server.verify()


@pytest.fixture
def other_server(server_thread: ServerThread) -> Iterator[ScriptedServer]:
    """Return a server that is a second host for a client."""
    server = ScriptedServer(server_thread)
    yield server
    server.close()
    server.verify()


@pytest.fixture
async def client(server: ScriptedServer, request: pytest.FixtureRequest) -> AsyncIterator[AsyncArker]:
    """Return a client of the scripted server. A module of tests of the contract sets ``STRICT_REPLIES``."""
    node: pytest.Item = request.node
    strict = isinstance(node, pytest.Function) and bool(getattr(node.module, "STRICT_REPLIES", False))
    async with make_client(server, strict_replies=strict) as client:
        yield client


@pytest.fixture
def vm(client: AsyncArker) -> AsyncVM:
    """Return a handle without data on a VM of the scripted server."""
    return client.vm("vm-1")
