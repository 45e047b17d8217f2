"""``arker run``, ``logs`` and ``runs``."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pty import openpty
from shlex import quote

import pytest

from arker.emulator import Emulator
from tests.command_line.support import MODULE, ROOT, Program


def states(program: Program, command: str) -> list[str]:
    """Return the states of the runs of a command, newest first."""
    return [run["state"] for run in program("runs", "web", "--json").json if command in run["command"]]


def test_run_passes_on_output_input_and_exit_status(arker_program: Program, web: str) -> None:
    done = arker_program("run", "web", "--", "echo out; echo err >&2; exit 7")
    assert (done.status, done.out, done.err) == (7, "out\n", "err\n")
    assert arker_program.good("run", web, "--", "tr", "a-z", "A-Z", data=b"words in\n" * 3) == "WORDS IN\n" * 3
    assert arker_program.good("run", "web", "--", "cat") == ""
    assert arker_program.good("run", "web", "--no-stdin", "--", "cat", data=b"unread") == ""


def test_run_takes_one_word_for_a_line_and_several_for_arguments(arker_program: Program, web: str) -> None:
    assert arker_program.good("run", "web", "--", "echo $((1 + 2))") == "3\n"
    assert arker_program.good("run", "web", "--", "echo", "$((1 + 2))", "--json", "-v") == "$((1 + 2)) --json -v\n"


def test_run_in_a_directory_with_variables_in_a_session(arker_program: Program, web: str) -> None:
    said = arker_program.good("run", "web", "--cwd", "/tmp", "-e", "A=1", "--env", "B=x=y", "--", "pwd; echo $A $B")
    assert said == "/tmp\n1 x=y\n"
    session = arker_program("ls", "--json").json[0]["sessions"][0]["session_id"]
    arker_program.good("run", "web", "--session", session, "--", "cd /usr")
    assert arker_program.good("run", "web", "--session", session, "--", "pwd") == "/usr\n"


def test_what_is_not_the_command_s_own_status(arker_program: Program, web: str) -> None:
    assert "killed" in arker_program.bad(124, "run", "web", "--timeout", "0.2s", "--", "sleep 60")
    assert "not_found" in arker_program.bad(125, "run", "nothing", "--", "true")
    assert "/no/where" in arker_program.bad(125, "run", "web", "--cwd", "/no/where", "--", "true")
    assert "expected a command" in arker_program.bad(125, "run", "web")
    assert "NAME=VALUE" in arker_program.bad(125, "run", "web", "-e", "A", "--", "true")
    assert "--bad" in arker_program.bad(125, "run", "web", "--bad")
    assert "--detach" in arker_program.bad(125, "run", "--fork", "-d", "ubuntu", "--", "true")
    assert arker_program("run", "web", "--", "no-such-program").status == 127


def test_a_command_beside_one_that_goes_on(arker_program: Program, web: str) -> None:
    arker_program.good("run", "web", "--", "cd /tmp")
    with arker_program.forked("run", "web", "--no-stdin", "--", "echo ready; sleep 600") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert arker_program.good("run", "web", "--", "pwd") == "/tmp\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    (vm,) = arker_program("ls", "--json").json
    assert len(vm["sessions"]) == 1


def test_errors_that_look_like_the_client_s_own_are_the_command_s(arker_program: Program, web: str) -> None:
    done = arker_program("run", "web", "--cwd", "/tmp", "--", "printf 'arker-12ab missing\\n' >&2")
    assert (done.status, done.err) == (0, "arker-12ab missing\n")
    assert arker_program("run", "web", "--", "printf ar >&2").err == "ar"
    assert arker_program("run", "web", "--", "printf 'arker-x y z' >&2").err == "arker-x y z"


def test_a_fork_for_one_command_is_deleted(arker_program: Program) -> None:
    done = arker_program("run", "--fork", "ubuntu", "--", "hostname; exit 3")
    assert (done.status, done.out) == (3, "vm\n")
    assert arker_program("ls", "--json").json == []


def test_output_comes_while_the_command_goes_on_and_input_too(arker_program: Program, web: str) -> None:
    with arker_program.forked("run", "web", "--", "echo ready; read x; echo got $x; cat") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"this\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"got this\n"
        process.stdin.write(b"rest")
        process.stdin.close()
        assert process.stdout.read() == b"rest"
        assert process.wait(120) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_kills_the_command(arker_program: Program, web: str, number: signal.Signals) -> None:
    with arker_program.forked("run", "web", "--", "echo ready; sleep 600") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        _, complaints = process.communicate(timeout=120)
        assert process.returncode == 128 + number
        assert complaints == b""
    assert states(arker_program, "sleep 600") == ["cancelled"]


def test_a_command_in_the_background_that_is_interrupted_at_its_start(
    arker_program: Program, arker_emulator: Emulator, web: str
) -> None:
    """Its id has not been told, so neither the command nor its session stays."""
    with (
        arker_emulator.faults.delay(seconds=3, processed=True, operation="run"),
        arker_program.forked("run", "web", "--detach", "--", "sleep 600") as process,
    ):
        until = time.monotonic() + 120
        while not arker_emulator.journal.executions():
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120) == (b"", b"")
        assert process.returncode == 130
    assert states(arker_program, "sleep 600") == ["cancelled"]
    assert len(arker_program("ls", "--json").json[0]["sessions"]) == 1


def test_a_terminal_that_is_closed_leaves_no_vm(arker_program: Program) -> None:
    screen, terminal = openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    words = ("run", "--fork", "ubuntu", "--", "echo ready; sleep 600")
    with arker_program.forked(*words, **streams, terminal=True) as process:
        os.close(terminal)
        assert os.read(screen, 100) == b"ready\r\n"
        os.close(screen)
        process.send_signal(signal.SIGHUP)  # the system has sent one, and a shell does, too
        assert process.wait(120) == 129
    assert arker_program("ls", "--json").json == []


def test_a_hang_up_that_is_ignored(arker_program: Program, web: str) -> None:
    begin = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh", *MODULE)
    env = {**arker_program.env, "PYTHONPATH": str(ROOT)}
    words = [*begin, "run", "web", "--", "echo ready; cat"]
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.communicate(b"goes on", timeout=120)[0] == b"goes on"
        assert process.returncode == 0


def test_a_reader_that_ends_ends_the_command(arker_program: Program, web: str) -> None:
    with arker_program.forked("run", "web", "--", "yes") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(120) == 141
        assert process.stderr.read() == b""
    assert states(arker_program, "yes") == ["cancelled"]


def test_logs_and_runs_of_a_run_in_the_background(arker_program: Program, web: str) -> None:
    line = "echo out; echo err >&2; while ! test -e go; do sleep 0.02; done; echo end"
    run = arker_program.good("run", "web", "--detach", "--", line).strip()
    until = time.monotonic() + 120
    while (done := arker_program("logs", run)).out != "out\n" or done.err != "err\n":
        assert time.monotonic() < until, done
    assert states(arker_program, "echo end") == ["running"]
    with arker_program.forked("logs", run, "--follow") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"out\n"
        arker_program.good("run", "web", "--", "touch go")
        assert follower.communicate(timeout=120) == (b"end\n", b"err\n")
        assert follower.returncode == 0
    found = arker_program("logs", run, "--vm", "web", "--json").json
    assert (found["state"], found["exit_code"], found["stdout"]) == ("completed", 0, "out\nend\n")
    assert found["command"] == line
    rows = arker_program.good("runs", "web", "--state", "completed").splitlines()
    assert rows[0].split() == ["RUN", "STATE", "EXIT", "AGE", "COMMAND"]
    assert next(row for row in rows if row.startswith(run)).endswith(line)
    assert len(arker_program.good("runs", "web", "--limit", "1").splitlines()) == 2


def test_runs_are_those_that_were_asked_for(arker_program: Program, web: str) -> None:
    """The client's own, such as those that copy files and pass input on, are in the whole list only."""
    own = "# shellcheck shell=sh\n# A program of the person's.\necho done"
    given = 'cat; echo "it\'s"'
    (arker_program.cwd / "site").mkdir()
    (arker_program.cwd / "site" / "index").write_text("hello")
    assert arker_program.good("run", "web", "--cwd", "/tmp", "-e", "A='\\eval", "--", given, data=b"x")
    arker_program.good("cp", "site", "web:")
    arker_program.good("cp", "web:site/index", "-")
    arker_program.good("run", "web", "--no-stdin", "--", "sh", "-c", own)
    commands = ["sh -c " + quote(own), given]
    assert [run["command"] for run in arker_program("runs", "web", "--json").json] == commands
    every = arker_program("runs", "web", "--all", "--json").json
    assert len(every) > 4
    assert commands[0] in [run["command"] for run in every]
    assert commands[1] not in [run["command"] for run in every]
    (last,) = arker_program("runs", "web", "--limit", "1", "--json").json
    assert last["command"] == commands[0]
    first = next(run["run_id"] for run in every if "it's" in arker_program("logs", run["run_id"]).out)
    assert arker_program("logs", first, "--json").json["command"] == commands[1]
    assert [run["command"] for run in arker_program("watch", "web", "--once", "--json").json["runs"]] == commands


def test_runs_that_do_not_exist(arker_program: Program, web: str) -> None:
    assert "--vm" in arker_program.bad(1, "logs", "nothing")
    assert "not_found" in arker_program.bad(1, "logs", "nothing", "--vm", "web")
    assert "--follow" in arker_program.bad(2, "logs", "nothing", "--follow", "--json")
    assert "not_found" in arker_program.bad(1, "runs", "nothing")
    assert "--limit" in arker_program.bad(2, "runs", "web", "--limit", "0")
