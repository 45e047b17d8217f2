"""Help, and what shells complete."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from arker._cli.app import COMMANDS
from arker._cli.names import PLAIN, WITH_EXTRA
from tests.command_line.support import Program


def test_every_command_is_in_the_list() -> None:
    assert sorted(COMMANDS) == sorted(WITH_EXTRA)


@pytest.mark.parametrize("name", [*PLAIN, *WITH_EXTRA])
def test_every_command_has_help(bare: Program, name: str) -> None:
    text = bare.good(name, "--help")
    assert f"Usage: arker {name}" in text or f"usage: arker {name}" in text
    assert "\x1b" not in text
    assert "--help" in text or "Usage" in text
    assert bare.good(name, "-h") == text


def test_the_list_of_commands(bare: Program) -> None:
    text = bare.good("--help")
    assert all(f" {name} " in text for name in (*PLAIN, *WITH_EXTRA))
    done = bare()
    assert (done.status, done.out) == (2, text)
    assert '"nothing"' in bare.bad(2, "nothing")
    assert bare.good("--version").startswith("arker-async ")


@pytest.mark.parametrize("columns", ["0", "1", "2", "20", "39"])
def test_help_in_a_narrow_terminal(bare: Program, columns: str) -> None:
    text = bare.good("ls", "--help", COLUMNS=columns)
    assert "--state" in text
    # 0 is no width, so it is as if there were none.
    assert max(map(len, text.splitlines())) == (80 if columns == "0" else 40)
    assert "Usage: arker COMMAND" in bare.good("--help", COLUMNS=columns)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(bare: Program, shell: str) -> None:
    script = bare.good("completion", shell)
    assert all(word in script for word in ("snapshot", "--timeout", "doctor"))
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=120)
    assert "tcsh" in bare.bad(2, "completion", "tcsh")


def test_bash_completes(bare: Program) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = bare.good("completion", "bash")
    asked = """
words=("$@")
COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1)) COMP_LINE="${words[*]}" COMP_POINT=${#COMP_LINE}
eval "$(complete -p arker | sed 's/.*-F \\([^ ]*\\).*/\\1/')" arker "${words[-1]}" "${words[-2]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    for words, wanted in ((("arker", "sn"), "snapshot"), (("arker", "run", "--ti"), "--timeout")):
        done = subprocess.run(
            [bash, "-c", script + asked, "bash", *words], capture_output=True, text=True, check=True, timeout=120
        )
        assert wanted in done.stdout.split(), (sys.version, done)


def test_bash_completes_files(bare: Program) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = bare.good("completion", "bash")
    done = subprocess.run([bash, "-c", script + "\ncomplete -p arker"], capture_output=True, text=True, check=True)
    assert done.stdout == "complete -o default -F _arker arker\n"


_ZSH = """
fpath=("$PWD" $fpath)
_arguments() { state=cmds }
_describe() { print -rl -- "$2" ${(P)2} }
compdef() { print -r -- "compdef $*" }
autoload -Uz _arker
_arker
unfunction _arker
source ./_arker
"""
"""Calls the function as zsh does that loads it from its file, and then reads the file as in ``source <(…)``."""


def test_zsh_loads_the_completions(bare: Program) -> None:
    script = bare.good("completion", "zsh")
    assert script.startswith("#compdef arker\n")
    # The function has the name of the file that the docs put it into, and is called when the file is loaded.
    assert "\n_arker() {\n" in script
    assert script.endswith("""
if [[ ${funcstack[1]-} == _arker ]]; then
  _arker "$@"
else
  compdef _arker arker
fi
""")
    zsh = shutil.which("zsh")
    if zsh is not None:  # where it is, it is tried out
        (bare.cwd / "_arker").write_text(script)
        done = subprocess.run([zsh, "-f", "-c", _ZSH], cwd=bare.cwd, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        assert lines[0] == "commands"
        assert any(line.startswith("snapshot:") for line in lines)
        assert lines[-1] == "compdef _arker arker"


def test_zsh_completes_files(bare: Program) -> None:
    script = bare.good("completion", "zsh")
    assert "'1:Where from.:_files'" in script
    assert "'2:Where to.:_files'" in script
