"""What a session keeps from one run to the next."""

from __future__ import annotations

import pytest

from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import sh

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "command",
    [
        "cd /tmp; export A='1 2'",
        "cd /tmp; export A='1 2'; exit 3",
        "set -e; cd /tmp; export A='1 2'; false; export A=no",
        "set -eu; cd /tmp; export A='1 2'; echo $undefined",
        "cd /tmp; export A='1 2'; PATH=/nowhere",
        "env() { :; }; printf() { :; }; cd /tmp; export A='1 2'",
        "set -x; cd /tmp; export A='1 2'",
        "cd /tmp; export A='1 2'; kill -TERM $$",
        "cd /tmp; export A='1 2'; (cd /; export A=no; exit 1)",
        "cd /tmp; export A='1 2'; trap 'echo mine' EXIT",
        "trap 'echo mine $?; exit 4' EXIT; cd /tmp; export A='1 2'; exit 3",
        "set -Eeuo pipefail; trap 'echo no' ERR; trap 'echo mine' EXIT; cd /tmp; export A='1 2'; false; export A=no",
        "clean() { rm -f x; }; start() { trap clean EXIT INT TERM; }; start; cd /tmp; export A='1 2'",
        "cd /tmp; export A='1 2'; trap 'true' DEBUG; shopt -s extdebug",
        "cd /tmp; export A='1 2'; trap - EXIT; trap '' EXIT",
        "builtin() { :; }; declare() { :; }; export() { command export \"$@\"; }; cd /tmp; export A='1 2'",
        "cd() { command cd \"$@\" && echo moved; }; cd /tmp; export A='1 2'",
        "unset PATH; cd /tmp; export A='1 2'; hash -r",
        "cd /tmp; export A='1 2'; readonly A REPLY IFS PWD",
        "cd /tmp; export A='1 2'; exec >/dev/null 2>&1",
        "cd /tmp; export A='1 2'; ulimit -f 0",
        "cd /tmp; export A='1 2'; ulimit -n 20",
        "cd /tmp; export A='1 2'; unset PWD",
        "cd /tmp; export A='1 2'; set -T; trap 'echo step' DEBUG",
    ],
)
async def test_directory_and_environment_come_back(vm: AgentSandbox, command: str) -> None:
    ended = await sh(vm, command)
    assert ended.exit.cwd == "/tmp"
    assert ended.exit.env is not None
    assert ended.exit.env["A"] == "1 2"
    assert b"198" not in ended.stderr
    following = await sh(vm, '/usr/bin/printf \'%s|%s\' "$PWD" "$A"', cwd=ended.exit.cwd, env=ended.exit.env)
    assert following.text == "/tmp|1 2"


@pytest.mark.parametrize("command", ["exec true", "kill -9 $$", "builtin trap 'echo mine' EXIT", "exec 198>&-"])
async def test_state_stays_as_it_was(vm: AgentSandbox, command: str) -> None:
    ended = await sh(vm, "export A=1; " + command)
    assert (ended.exit.cwd, ended.exit.env) == (None, None)


async def test_odd_values_survive(vm: AgentSandbox) -> None:
    first = await sh(
        vm, "export LINES='a\nb=c\n'; export RAW=$'\\xff'; greet() { echo \"hello $1\"; }; export -f greet"
    )
    env = first.exit.env
    assert env is not None
    assert env["RAW"] == "\udcff"
    second = await sh(vm, 'greet you; printf %s "$LINES$RAW"', env=env)
    assert second.stdout == b"hello you\na\nb=c\n\xff"


async def test_only_what_was_changed_differs_from_the_initial_environment(vm: AgentSandbox) -> None:
    ended = await sh(vm, "true")
    assert ended.exit.env is not None
    assert dict(ended.exit.env) == dict(vm.initial_env)
    assert vm.initial_env["HOME"] == "/home/user"
    for _ in range(3):
        ended = await sh(vm, "echo $SHLVL", env=ended.exit.env)
    assert ended.text == "1"


@pytest.mark.parametrize("size", [140_000, 3_000_000])
async def test_a_value_that_no_program_can_be_started_with(vm: AgentSandbox, size: int) -> None:
    first = await sh(
        vm, f"export A=$'it\\'s \\n' BIG=$(head -c {size} /dev/zero | tr '\\0' x); greet() {{ echo hello; }}; "
        "export -f greet; cd /srv"
    )  # fmt: skip
    assert first.exit.env is not None
    assert (first.exit.cwd, len(first.exit.env["BIG"])) == ("/srv", size)
    second = await sh(vm, 'echo "${#BIG} ${#A} $PWD"; greet; unset BIG; true | cat', cwd="/srv", env=first.exit.env)
    assert (second.text, second.stderr) == (f"{size} 6 /srv\nhello", b"")
    assert second.exit.env is not None
    assert "BIG" not in second.exit.env
    assert second.exit.env["A"] == "it's \n"


@pytest.mark.parametrize("name", ["builtin", "exec", "eval", "trap", "set", "read", "export"])
async def test_exported_functions_named_like_what_starts_a_command(vm: AgentSandbox, name: str) -> None:
    first = await sh(vm, f"export A=1; {name}() {{ /bin/echo {name} is mine; }}; command export -f {name}")
    second = await sh(vm, f"{name}; A=2; cd /srv", env=first.exit.env)
    assert (second.text, second.stderr) == (f"{name} is mine", b"")
    assert second.exit.cwd == "/srv"
    assert second.exit.env is not None
    assert second.exit.env["A"] == "2"
    assert f"BASH_FUNC_{name}%%" in second.exit.env


async def test_a_directory_whose_path_is_longer_than_a_system_call_takes(vm: AgentSandbox) -> None:
    name = "d" * 200
    first = await sh(vm, f"for i in $(seq 40); do mkdir {name}; cd {name}; done; echo deep > file")
    assert first.exit.cwd is not None
    assert len(first.exit.cwd) > 8000
    assert (await sh(vm, "cat file", cwd=first.exit.cwd)).text == "deep"


async def test_a_large_environment(vm: AgentSandbox) -> None:
    ended = await sh(vm, "for i in $(seq 100); do export V$i=$(head -c 10000 /dev/zero | tr '\\0' x); done")
    assert ended.exit.env is not None
    again = await sh(vm, "echo ${#V77}", env=ended.exit.env)
    assert again.text == "10000"


async def test_a_directory_that_has_gone_falls_back_to_home(vm: AgentSandbox) -> None:
    assert (await sh(vm, "pwd", cwd="/no/such")).text == "/home/user"
    ended = await sh(vm, "mkdir d; cd d; rmdir ../d")
    assert (await sh(vm, "pwd", cwd=ended.exit.cwd or "/home/user")).text == "/home/user"
    assert (await sh(vm, "rm -rf /home/user; pwd", cwd="/home/user")).code == 0
    assert (await sh(vm, "pwd", cwd="/home/user")).code == 0


async def test_the_users_descriptors_are_free(vm: AgentSandbox) -> None:
    assert (await sh(vm, "exec 9>file 3<file; echo x >&9; ls /proc/self/fd | wc -l; cat <&3")).text.endswith("x")


async def test_commands_see_a_plain_bash(vm: AgentSandbox) -> None:
    ended = await sh(vm, 'echo "$0 $# $- $LINENO"; ulimit -c; umask; echo $LANG')
    assert ended.text.splitlines()[0].startswith("bash 0 ")
    assert ended.text.splitlines()[1:] == ["0", "0022", "C.UTF-8"]
