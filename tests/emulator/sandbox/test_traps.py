"""What a command does with traps goes as in a bash that nothing was added to."""

from __future__ import annotations

import anyio
import pytest

from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import sh

pytestmark = pytest.mark.anyio

COMMANDS = [
    "trap 'echo bye $?' EXIT; (exit 3)",
    "trap 'echo bye $?; exit 7' EXIT; exit 3",
    "trap 'echo bye $?; exit' EXIT; exit 9",
    "trap 'echo a; (exit 5)' EXIT; exit 9",
    "set -e; trap 'echo bye $?' EXIT; false; echo no",
    "set -eu; trap 'echo \"it'\\''s $LINENO\"' EXIT; echo $undefined",
    "trap 'echo err' ERR; false; trap - ERR; false; trap -p",
    "set -E; trap 'echo err $LINENO' ERR; f() { false; echo f; }; f",
    "set -Eeuo pipefail; trap 'echo err $?' ERR; trap 'echo exit $?' EXIT; f() { false | cat; }; f; echo no",
    "trap 'echo bye' EXIT; trap -p; trap; trap - EXIT; trap -p EXIT; trap -p",
    "trap 'echo a\n\n\necho b' EXIT; trap; trap - 0",
    "trap 'a b' EXIT; trap 0; trap -p",
    "old=$(trap -p EXIT); trap 'echo mine' EXIT; new=$(trap -p EXIT); echo \"$old|$new\"",
    "( trap 'echo sub' EXIT; trap ); trap",
    "x=$(trap 'echo in' EXIT; echo out); echo \"$x\"",
    "trap 'echo a' EXIT; trap 'echo b' EXIT; exec true",
    "trap 'echo a' EXIT; bash -c 'trap \"echo inner\" EXIT; exit 2'; echo $?",
    "f() { trap 'echo ret' RETURN; echo f; }; f; f() { :; }; f; trap - RETURN; f; echo end",
    "f() { trap 'echo ret' RETURN; echo f; }; g() { f; echo g; }; g; g",
    "set -T; trap 'echo ret' RETURN; f() { echo f; }; f; f",
    "trap 'echo D $BASH_COMMAND' DEBUG; echo a; trap 'echo E $BASH_COMMAND' DEBUG; echo b; trap - DEBUG; echo c",
    "shopt -s extdebug; trap 'echo D' DEBUG; echo x",
    "set -x; trap 'echo bye' EXIT; echo x",
    "f() { local v=1; trap 'echo v=${v-unset}' EXIT; exit 3; }; f",
    "trap 'exit 5' TERM; trap 'echo x $?' EXIT; kill $$; sleep 1; echo no",
    "trap '' INT; trap 'echo t' TERM; kill -TERM $$; kill -INT $$; echo after; trap",
    "trap 'echo hup' HUP; trap; trap - HUP; trap; trap -- 'echo usr' USR1; kill -USR1 $$; trap 0 USR1; trap -p",
    "trap x; echo $?; trap x NOSUCH 2>/dev/null; echo $?; trap -l | head -1; trap --; echo $?",
    "source /dev/stdin <<< \"trap 'echo sourced' EXIT\"",
    "cat <(trap 'echo p' EXIT; echo q)",
    "trap 'echo $?' EXIT; : ${nope:?gone}",
    "set -o posix; trap 'echo posix' EXIT; trap",
    "trap 'cd /; export B=2' EXIT; exit 1",
    "set -u; trap 'echo u' EXIT; echo $undefined",
]


@pytest.mark.parametrize("command", COMMANDS)
async def test_as_in_a_plain_bash(vm: AgentSandbox, command: str) -> None:
    plain = await anyio.run_process(
        ["env", "--default-signal", "bash", "--noprofile", "--norc", "-c", 'eval "$REPLY"'],
        env={"REPLY": command, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        check=False,
        cwd="/",
    )
    ended = await sh(vm, command)
    assert (ended.code, ended.stdout, ended.stderr) == (plain.returncode, plain.stdout, plain.stderr)
