"""Standard streams that are closed, full, or have no reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line.support import MODULE, ROOT, Program

FULL = Path("/dev/full")


def _with_streams(program: Program, streams: str, *words: str) -> tuple[int, str, str]:
    """Run a command under a shell that changes its streams. Returns its exit status and what it writes."""
    done = subprocess.run(
        ["sh", "-c", f'"$@" {streams}', "sh", *MODULE, *words],
        cwd=program.cwd,
        env={**program.env, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_ends_amid_a_copy(arker_program: Program, web: str, buffered: bool) -> None:
    arker_program.good("run", "web", "--", "head -c 1000000 /dev/zero > zeros")
    words = ("cp", "web:zeros", "-")
    unbuffered = {"PYTHONUNBUFFERED": "1"}  # an interpreter heeds it as it starts
    with arker_program.forked(*words) if buffered else arker_program.started(*words, env=unbuffered) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"\0"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) == 141


@pytest.mark.parametrize("name", ["watch", "run", "logs"])
def test_a_reader_that_ends_while_there_is_nothing_to_write(arker_program: Program, web: str, name: str) -> None:
    """Only the next piece of output would tell, and none comes: as with `arker watch | grep -m1 idle`."""
    silent = ("--no-stdin", "--", "echo ready; sleep 600")
    words = {"watch": ("watch", "web"), "run": ("run", "web", *silent)}.get(name)
    if words is None:
        words = ("logs", "--follow", arker_program.good("run", "web", "--detach", *silent).strip())
    with arker_program.forked(*words) as it:
        assert it.stdout is not None
        assert it.stderr is not None
        assert it.stdout.readline() != b""
        it.stdout.close()
        assert it.wait(120) == 141
        assert it.stderr.read() == b""
    wanted = {"watch": [], "run": ["cancelled"], "logs": ["running"]}
    assert [run["state"] for run in arker_program("runs", "web", "--json").json] == wanted[name]


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("ls", "--help"), ("completion", "bash")])
def test_what_prints_without_a_server_says_that_it_cannot(bare: Program, words: tuple[str, ...]) -> None:
    begin = bare.started if words == ("--version",) else bare.forked
    if FULL.exists():
        with FULL.open("wb") as full, begin(*words, stdin=subprocess.DEVNULL, stdout=full.fileno()) as process:
            _, said = process.communicate(timeout=120)
            assert (process.returncode, said) == (1, b"arker: [Errno 28] No space left on device\n")
    with begin(*words, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(120) == 141


@pytest.mark.skipif(sys.platform == "win32", reason="streams are not inherited by number there")
def test_closed_streams(arker_program: Program, web: str) -> None:
    bad = "arker: [Errno 9] Bad file descriptor\n"
    assert _with_streams(arker_program, ">&-", "ls") == (1, "", bad)
    assert _with_streams(arker_program, ">&-", "run", "web", "--", "echo hello") == (125, "", bad)
    assert _with_streams(arker_program, "<&-", "run", "web", "--", "cat; echo end") == (0, "end\n", "")
    status, out, err = _with_streams(arker_program, "<&-", "cp", "-", "web:nothing")
    assert (status, out) == (1, "")
    assert "Bad file descriptor" in err
    assert "nothing" not in arker_program.good("run", "web", "--", "ls")
    assert _with_streams(arker_program, "2>&-", "run", "web", "--", "echo lost >&2; echo kept") == (0, "kept\n", "")
    assert _with_streams(arker_program, "2>&-", "nothing") == (2, "", "")


def test_what_is_made_does_not_stay_when_its_id_cannot_be_told(arker_program: Program, web: str) -> None:
    bad = "arker: [Errno 9] Bad file descriptor\n"
    assert _with_streams(arker_program, ">&-", "fork", "ubuntu") == (1, "", bad)
    assert _with_streams(arker_program, ">&-", "fork", "ubuntu", "--json") == (1, "", bad)
    assert _with_streams(arker_program, ">&-", "snapshot", "web", "kept") == (1, "", bad)
    assert [vm["vm_id"] for vm in arker_program("ls", "--json").json] == [web]
    assert _with_streams(arker_program, ">&-", "fork", "ubuntu", "--idempotency-key", "key") == (1, "", bad)
    assert arker_program.good("fork", "ubuntu", "--idempotency-key", "key").strip() in arker_program.good("ls", "-q")
    assert _with_streams(arker_program, ">&-", "run", "web", "--detach", "--", "sleep 600") == (125, "", bad)
    assert [run["state"] for run in arker_program("runs", "web", "--json").json] == ["cancelled"]
    assert len(next(vm for vm in arker_program("ls", "--json").json if vm["vm_id"] == web)["sessions"]) == 1


def test_ctrl_c_while_modules_are_imported(bare: Program) -> None:
    (bare.cwd / "cyclopts.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(600)\n")
    with bare.started("ls", env={"PYTHONPATH": f"{bare.cwd}{os.pathsep}{ROOT}"}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert process.stderr.read() == b""
