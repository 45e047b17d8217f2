"""A server is started clean whatever program starts it, within a bound, and by a Python; else the reason is told."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arker.emulator import Emulator, _start, _state
from arker.emulator.__main__ import without_certificates
from arker.errors import EmulatorError
from tests.emulator.server.support import ISOLATION
from tests.support.forked import prefork
from tests.support.waiting import longer_and_longer

ROOT = str(Path(__file__).parents[3])

# Spoils what is said in its first argument, and then uses a backend. Its answer goes to a file: there may be no output.
PROGRAM = """
import os, resource, signal, sys
from pathlib import Path
what, place, isolation, answer = sys.argv[1:]
answer = os.open(answer, os.O_WRONLY)
sys.path[:] = [os.environ["ROOT"], "", *(entry for entry in sys.path if entry)]
exec(what)
import asyncio
from arker import AsyncArker

SHOW = '''printf '#!/bin/sh\\necho ran\\n' > s; chmod +x s; ./s; umask; pwd
for i in $(seq 3); do true | cat; done; (exit 3) & wait $!; echo $?
grep -E '^Sig(Blk|Ign)' /proc/self/status; ulimit -S -f'''

async def main():
    async with AsyncArker.local(state_parent=place, isolation=isolation) as ar, await ar.fork("ubuntu") as vm:
        child = await vm.fork()
        done = await child.run(SHOW)
        os.write(answer, done.stdout + done.stderr)

try:
    asyncio.run(main())
except Exception as error:
    os.write(answer, f"{type(error).__name__} {error}".encode())
"""

SPOILT = {
    "nothing": "pass",
    "child signals ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "all signals ignored": (
        "for n in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(n, signal.SIG_IGN)"
    ),
    "all signals blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "input closed": "os.close(0)",
    "input and outputs closed": "os.close(0); os.close(1); os.close(2)",
    "outputs closed": "os.close(1); os.close(2)",
    "directory deleted": "os.mkdir(place + '/gone'); os.chdir(place + '/gone'); os.rmdir(place + '/gone')",
    "relative directory": "os.chdir(place); place = '.'",
    "file mode mask": "os.umask(0o777)",
    "few descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
    "few descriptors, for the program": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    ),
    "small files, for the program": (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))"
    ),
    # As gevent does, which closes them when its loop goes on. It has a `subprocess` of its own, too.
    "descriptors closed later": (
        "import subprocess, types; own = types.ModuleType('os'); vars(own).update(vars(os)); subprocess.os = own; "
        "later = []; os.close = later.append"
    ),
    "relative PATH": "os.environ['PATH'] = 'bin::.:' + os.environ['PATH']",
}


def spoilt(what: str, place: Path, tmp_path: Path, isolation: str = ISOLATION, **environment: str) -> str:
    """Return the answer of the program. It is a new interpreter only where the environment is to be another.

    The server is started in a new one in any case.
    """
    answer = tmp_path / "answer"
    answer.touch()
    arguments = [what, str(place), isolation, str(answer)]
    # Without a safe path, Python 3.13.0 fails to import from its own library where its directory has been deleted.
    env = {**os.environ, "ROOT": ROOT, "PYTHONSAFEPATH": "1", **environment}
    with open(os.devnull, "r+b") as null:
        if environment:
            command = [sys.executable, "-c", PROGRAM, *arguments]
            subprocess.run(command, env=env, stdin=null, stdout=null, stderr=null, timeout=300, check=False)
        else:
            streams = (null.fileno(),) * 3
            started = prefork().start("code", streams=streams, env=env, cwd=ROOT, code=PROGRAM, arguments=arguments)
            try:
                started.wait(300)
            finally:
                started.kill()
    return answer.read_text("utf-8")


@pytest.mark.parametrize("isolation", [ISOLATION, "none"])
@pytest.mark.parametrize("what", SPOILT.values(), ids=SPOILT.keys())
def test_whatever_the_program_has_made_of_itself(what: str, place: Path, tmp_path: Path, isolation: str) -> None:
    lines = spoilt(what, place, tmp_path, isolation).splitlines()
    assert lines[:2] == ["ran", "0022"], lines
    assert lines[2].endswith("/home/user")
    assert lines[3] == "3"
    blocked, ignored = (int(line.split()[1], 16) for line in lines[4:6])
    handled = sum(1 << (number - 1) for number in signal.valid_signals())
    assert blocked == 0
    assert ignored & handled == 0
    assert lines[6] == "unlimited" or what == "nothing"


@pytest.mark.parametrize("closed", [(0,), (1,), (1, 2), (0, 1, 2)])
def test_what_the_server_is_handed_is_above_the_standard_descriptors(
    place: Path, tmp_path: Path, closed: tuple[int, ...]
) -> None:
    # Nothing else has taken the free numbers yet: the first that are made are those for the server.
    what = f"""
import arker.emulator
for n in {closed}: os.close(n)
with arker.emulator.Emulator(state_parent=place, isolation=isolation) as emulator:
    emulator.check_alive()
    os.write(answer, str([n for n in range(3) if os.path.exists(f"/proc/self/fd/{{n}}")]).encode())
sys.exit()
"""
    assert spoilt(what, place, tmp_path) == str([number for number in range(3) if number not in closed])


def test_it_does_not_read_the_certificates_of_the_system(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "certificates"
    os.mkfifo(silent)  # opening it blocks until somebody writes to it
    monkeypatch.setenv("SSL_CERT_FILE", str(silent))
    with Emulator(isolation="none", state_parent=place) as emulator:
        assert emulator.url


@pytest.mark.parametrize("before", [{}, {"SSL_CERT_FILE": "/the/file", "SSL_CERT_DIR": "/the/directory"}])
def test_the_certificates_are_hidden_only_meanwhile(before: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    with without_certificates():
        assert not ssl.create_default_context().get_ca_certs()
    assert {name: value for name, value in os.environ.items() if name.startswith("SSL_CERT_")} == before


def test_a_path_is_handed_over_in_the_servers_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _start.in_utf8("/t/ä") == "/t/ä"
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsencode", lambda path: str(path).encode("latin-1"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        handed_over = _start.in_utf8("/t/ä")
    assert handed_over == "/t/\udce4"


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_XX"])
def test_names_that_are_no_ascii_in_a_locale_that_has_none(place: Path, tmp_path: Path, locale: str) -> None:
    odd = place / "pläce"
    odd.mkdir()
    odd.chmod(0o711)
    fields = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert spoilt("pass", odd, tmp_path, **fields).startswith("ran\n")
    odd.rmdir()


def test_a_program_in_a_relative_directory_of_path_is_not_run(place: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("bwrap", "bash"):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\nexit 1\n")
        program.chmod(0o755)
    what = f"os.chdir({str(tmp_path)!r}); os.environ['PATH'] = 'bin:' + os.environ['PATH']"
    for isolation in (ISOLATION, "none"):
        assert spoilt(what, place, tmp_path, isolation).startswith("ran\n")
    assert not (tmp_path / "run").exists()


def test_files_that_may_not_be_large_are_the_reason(place: Path, tmp_path: Path) -> None:
    what = "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    said = spoilt(what, place, tmp_path)
    assert said.startswith("EmulatorError")
    assert "ulimit -f" in said
    assert "bubblewrap" not in said


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have a shell script for Python."""

    def put(script: str) -> None:
        program = tmp_path / "python3"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return put


@pytest.mark.anyio
async def test_waiting_has_a_bound_and_tells_the_log(place: Path, interpreter: Callable[[str], None]) -> None:
    interpreter("echo what is wrong >&2; exec sleep 600")
    longer = longer_and_longer(0.5)
    while True:
        seconds = next(longer)
        options: dict[str, Any] = {"state_parent": place, "start_timeout": seconds}
        expected = f"not ready within {seconds:g} s (start_timeout)"
        with pytest.raises(EmulatorError, match=re.escape(expected)) as once, Emulator(**options):
            pass
        with pytest.raises(EmulatorError, match=re.escape(expected)) as again:
            async with Emulator(**options):
                pass
        if all("what is wrong" in str(caught.value) for caught in (once, again)):
            break
    assert str(once.value) == str(again.value)
    assert f"{expected}: what is wrong" in str(once.value)


def test_an_end_at_once_is_told_with_its_status(place: Path, interpreter: Callable[[str], None]) -> None:
    interpreter("exit 7")
    with pytest.raises(EmulatorError, match="without a word, with status 7"), Emulator(state_parent=place):
        pass
    interpreter("echo error while loading shared libraries >&2; exit 127")
    with pytest.raises(EmulatorError, match="error while loading shared libraries"), Emulator(state_parent=place):
        pass


# Ends by itself after a few copies, so that a failing test leaves none.
STARTED = """#!/bin/sh
echo started >> {log}
[ $(wc -l < {log}) -lt 6 ] || exit 9
exec {python} {program}
"""
APPLICATION = """
import os, sys
sys.path.insert(0, {root!r})
sys.executable = {application!r}
if {frozen}: sys.frozen = True
if {alone}:
    from arker.emulator import _start
    _start._candidates = lambda: iter([sys.executable])
from arker_sync import Arker
try:
    with Arker.local(state_parent={place!r}) as ar, ar.fork("ubuntu") as vm:
        print(vm.run("echo works").stdout_text)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("name", "frozen", "alone"),
    [("application", True, False), ("uwsgi", False, False), ("application", False, True), ("python3", True, True)],
)
def test_an_application_does_not_start_itself_again(
    place: Path, tmp_path: Path, name: str, frozen: bool, alone: bool
) -> None:
    application, program, log = tmp_path / name, tmp_path / "inner.py", tmp_path / "log"
    fields = {"root": ROOT, "application": str(application), "frozen": frozen, "alone": alone, "place": str(place)}
    program.write_text(APPLICATION.format(**fields))
    application.write_text(STARTED.format(log=log, python=sys.executable, program=program))
    application.chmod(0o755)
    done = subprocess.run([str(application)], capture_output=True, text=True, timeout=300, check=False)
    assert log.read_text() == "started\n"
    if alone:
        assert done.stdout.startswith("EmulatorError")
        assert str(application) in done.stdout
        assert "python -m arker.emulator" in done.stdout
    else:
        assert done.stdout == "works\n\n", done.stderr


def test_an_application_that_is_taken_for_an_interpreter_stops_at_its_second_copy(place: Path, tmp_path: Path) -> None:
    application, program, log = tmp_path / "python3", tmp_path / "inner.py", tmp_path / "log"
    fields = {"root": ROOT, "application": str(application), "frozen": False, "alone": False, "place": str(place)}
    program.write_text(APPLICATION.format(**fields))
    application.write_text(STARTED.format(log=log, python=sys.executable, program=program))
    application.chmod(0o755)
    done = subprocess.run([str(application)], capture_output=True, text=True, timeout=300, check=False)
    assert log.read_text() == "started\n" * 2
    assert "could not start" in done.stdout


def test_an_interpreter_without_this_package_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EmulatorError, match="No module named 'arker'"):
        _start.find_python(json.dumps(["/nowhere"]))


def test_a_file_system_without_programs_is_passed_over(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "noexec").mkdir()
    (place / "other").mkdir()
    barred = {place / "noexec"}
    monkeypatch.setattr(_state, "_is_noexec", lambda path: path in barred)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    monkeypatch.setattr(_state, "_OTHER_PLACES", (place / "missing", place / "other"))
    monkeypatch.setattr("tempfile.tempdir", str(place / "noexec"))
    state = _state.StateDir(None)
    assert state.path.parent == place / "other"
    state.remove()
    assert caplog.record_tuples == []
    barred.add(place / "other")
    for wanted in (None, place / "noexec"):
        caplog.clear()
        state = _state.StateDir(wanted)
        assert state.path.parent == place / "noexec"
        state.remove()
        ((logger, level, message),) = caplog.record_tuples
        assert (logger, level) == ("arker.emulator", logging.WARNING)
        assert "noexec" in message
        assert "state_parent" in message
    (place / "noexec").rmdir()
    (place / "other").rmdir()


# A process that orphans are left to, as to the first process of a container, and that collects none but its own.
FIRST = """
import asyncio, ctypes, os, sys
from pathlib import Path
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
sys.path.insert(0, sys.argv[2])
from arker import AsyncArker

def ended():
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            text = (place / "stat").read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if state == "Z" and int(parent) == os.getpid():
            found.append(text)
    return found

async def main():
    async with AsyncArker.local(state_parent=sys.argv[1]) as ar:
        async with await ar.fork("ubuntu") as vm:
            await vm.run("for i in $(seq 300); do echo $i > f$i; done")
            for _ in range(10):  # bwrap does not always end before what it has started
                await vm.run("setsid sleep 600 & kill -9 -1")
            for delay in (0.001, 0.01, 0.03, 0.1):
                try:
                    await asyncio.wait_for(vm.fork(), delay)
                except (TimeoutError, asyncio.TimeoutError):
                    pass
        for vm in await asyncio.gather(*(ar.fork("ubuntu") for _ in range(5))):
            await vm.run("sleep 600 & setsid sleep 600 &")
            await vm.delete()
    print(ended())
asyncio.run(main())
"""


def test_nothing_is_left_to_the_first_process_of_a_container(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST, str(place), ROOT], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "[]\n", done.stderr
