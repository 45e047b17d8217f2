"""The line of a command in a subshell, in every shell that there is, beside the command alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import attrs
import pytest

from arker._commands.shell import (
    REFUSED,
    Origin,
    Subshell,
    command_in,
    mark_of,
    printf_format,
    read_and_removed,
    refusal,
)
from tests.support.children import child

SHELLS = [name for name in ("sh", "dash", "bash", "ksh", "mksh", "yash", "zsh", "busybox") if shutil.which(name)]
MARK = mark_of("key")
PLAIN = Subshell(MARK)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return ["busybox", "sh"] if request.param == "busybox" else [request.param]


def run(shell: list[str], line: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*shell, "-c", line],
        input=b"of the session",
        capture_output=True,
        check=False,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": "/", "BEFORE": "before"},
        timeout=300,
    )


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("false", 1), ("exit 3", 3), ("set -e; false; exit 4", 1), ("sh -c 'kill -9 $$'", 137)],
)
def test_the_status_is_the_commands(shell: list[str], command: str, status: int) -> None:
    assert run(shell, PLAIN.line(command)).returncode == status


def test_the_input_is_empty_unless_there_is_one(shell: list[str]) -> None:
    assert run(shell, PLAIN.line("cat; echo end")).stdout == b"end\n"


def test_variables_have_any_value(shell: list[str]) -> None:
    env = {"A": 'it\'s "$HOME" `x` \\ * ~\n\tend\n', "B": "", "_c1": "-n", "UMLAUT": "grün"}
    names = " ".join(f'"${name}"' for name in env)
    done = run(shell, attrs.evolve(PLAIN, env=env).line(f"printf '%s\\0' {names} \"$BEFORE\""))
    assert done.stdout == b"".join(value.encode() + b"\0" for value in [*env.values(), "before"])
    exported = run(shell, attrs.evolve(PLAIN, env=env).line("env -0")).stdout.split(b"\0")
    assert {f"{name}={value}".encode() for name, value in env.items()} <= set(exported)


def test_a_session_stays_as_it_is(shell: list[str], tmp_path: Path) -> None:
    line = attrs.evolve(PLAIN, env={"A": "1"}, cwd="/", data=b"x").line("cd /usr; B=2; trap 'echo t' TERM; exit 5")
    after = "echo $? ${A-unset} ${B-unset} ${__arker_status-unset}; pwd; trap - INT QUIT; trap; cat"
    done = run(shell, f"{line}\n{after}", cwd=tmp_path)
    expected = f"5 unset unset unset\n{tmp_path}\n".encode()
    assert done.stdout == expected + b"of the session"
    assert done.stderr == b""


def test_directories(shell: list[str], tmp_path: Path) -> None:
    for name in ("-n", "a b", "it's", "~x", "$HOME", "new\nline", "grün"):
        (tmp_path / name).mkdir()
        assert (
            run(shell, attrs.evolve(PLAIN, cwd=name).line("pwd"), cwd=tmp_path).stdout
            == f"{tmp_path}/{name}\n".encode()
        )
        whole = f"{tmp_path}/{name}"
        assert run(shell, attrs.evolve(PLAIN, cwd=whole).line("pwd")).stdout == f"{whole}\n".encode()
    assert run(shell, attrs.evolve(PLAIN, cwd="~").line("pwd"), cwd=tmp_path).stdout == b"/\n"
    assert run(shell, attrs.evolve(PLAIN, cwd="~/usr").line("pwd"), cwd=tmp_path).stdout == b"/usr\n"


def test_a_directory_that_is_none_is_told(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in (("nothing", "missing"), ("file", "file")):
        done = run(shell, attrs.evolve(PLAIN, cwd=name, env={"A": "b"}).line("echo ran"), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (REFUSED, b"")
        assert refusal(MARK, done.stderr) == reason
        assert refusal(mark_of("other"), done.stderr) is None


def test_a_variable_that_cannot_be_set_is_told() -> None:
    done = run(["bash"], "readonly FIXED=1\n" + attrs.evolve(PLAIN, env={"FIXED": "2"}).line("echo ran"))
    assert (done.returncode, done.stdout) == (REFUSED, b"")
    assert refusal(MARK, done.stderr) == "env"


@pytest.mark.parametrize("data", [bytes(range(256)) * 8, b"-n", b"%d\\n'", b"\n\n", b"\0"], ids=repr)
def test_an_input_in_the_line(shell: list[str], data: bytes) -> None:
    assert "\n" not in printf_format(data)
    assert run(shell, attrs.evolve(PLAIN, data=data).line("cat")).stdout == data


def test_an_input_that_is_not_read(shell: list[str]) -> None:
    done = run(shell, attrs.evolve(PLAIN, data=b"x" * 16384).line("exec 0</dev/null; sleep 0.1; exit 6"))
    assert (done.returncode, done.stderr) == (6, b"")


def test_an_input_in_a_file(shell: list[str], tmp_path: Path) -> None:
    file = tmp_path / "it's"
    file.write_bytes(bytes(range(256)) * 1000)
    subshell = attrs.evolve(PLAIN, file=str(file), cwd="/", env={"A": "b"})
    assert run(shell, subshell.line("wc -c")).stdout.strip() == b"256000"
    assert not file.exists()
    done = run(shell, subshell.line("echo ran"))
    assert (done.returncode, done.stdout, refusal(MARK, done.stderr)) == (REFUSED, b"", "input")


def test_a_command_in_a_file(shell: list[str], tmp_path: Path) -> None:
    file = tmp_path / "it's"
    file.write_text("cd /usr; A=1\nexport A; printf '%s' 'a  b\n'\n\n")
    done = run(shell, f"{read_and_removed(str(file))}\nenv | grep ^A=; pwd; cat")
    assert done.stdout == b"a  b\nA=1\n/usr\nof the session"
    assert not file.exists()
    assert run(shell, read_and_removed(str(file))).returncode == REFUSED


def test_what_is_taken_over_of_another_session(shell: list[str], tmp_path: Path) -> None:
    origin = Origin(str(tmp_path), {"A": "x y"}, ("BEFORE",))
    (tmp_path / "sub").mkdir()
    line = attrs.evolve(PLAIN, origin=origin, cwd="sub", env={"B": "z"}).line('pwd; echo "$A $B ${BEFORE-unset}"')
    assert run(shell, line).stdout == f"{tmp_path}/sub\nx y z unset\n".encode()
    gone = attrs.evolve(PLAIN, origin=Origin(f"{tmp_path}/gone"))
    assert run(shell, gone.line("echo ran"), cwd=tmp_path).stdout == b"ran\n"


def test_a_signal_is_the_commands_to_handle(shell: list[str]) -> None:
    line = attrs.evolve(PLAIN, env={"SECRET": "s3cret"}).line(
        "trap 'echo got; exit 7' TERM; echo up; while :; do sleep 0.02; done"
    )
    with child([*shell, "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.killpg(process.pid, signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
    if shell == ["zsh"]:  # by itself it may repeat its buffer after a signal
        out = out.removeprefix(b"up\n")
    assert (out, process.returncode) == (b"got\n", 7)
    assert b"s3cret" not in errors


def test_a_command_that_a_signal_kills_shows_nothing_of_its_environment(shell: list[str]) -> None:
    line = attrs.evolve(PLAIN, env={"SECRET": "s3cret"}).line("echo up; exec sleep 60")
    with child([*shell, "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (143, 128 + 15, 271)  # ksh adds 256
    assert b"s3cret" not in errors


@pytest.mark.parametrize("command", ["echo hi", "\\eval 'x'", 'it\'s "q" ) \\eval', "a\nb", "", "\u20ac $x `y`"])
@pytest.mark.parametrize(
    "subshell",
    [
        Subshell("m"),
        Subshell("m", env={"A": "x \\eval y"}, cwd="/tmp/ \\eval 'q"),
        Subshell("m", data=b"( \\exec 2>&9 9>&-; \\eval 'no'\n\\eval "),
        Subshell("m", cwd="~/x", feed="\\sh -c 'a ( ; \\eval ' sh x", after="rm x", file="/tmp/f '"),
        Subshell("m", origin=Origin(cwd="/x y", env={"eval": "1"}, unset=("eval", "b"))),
    ],
)
def test_the_command_is_found_in_its_line(subshell: Subshell, command: str) -> None:
    line = subshell.line(command)
    assert command_in(line) == command
    assert command_in(command) == command
    part = line[: len(line) // 3]  # as a server shows a long one
    assert command_in(part) == part
