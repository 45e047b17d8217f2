"""The command line for bash, and the way back of the session's state.

Directory and exported variables are inside the shell that runs the command, so it has to write them down itself, and
the only moment for that is its end: an EXIT trap. It stands before a trap that the command sets, by a function ``trap``
that is a stand-in for the builtin; and it uses one program and no builtin, since all of them may have been redefined.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

LARGEST_STATE: Final = 16 * 1024 * 1024

_OF_ONE_SHELL: Final = frozenset({"_", "SHLVL", "PWD"})
"""Variables that each shell sets for itself, so that they are no part of a session."""
_LAST: Final = "__ARKER_STATE_CWD"
"""The entry at the end: its value is the directory, and what comes before it is whole."""
_LARGEST_ENTRY: Final = 128 * 1024 - 1
"""Bytes; the kernel takes no larger one when a program is started."""
_LARGEST_ENVIRONMENT: Final = 1024 * 1024
"""Bytes; the kernel takes twice that under the usual limit of the stack."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FUNCTION: Final = re.compile(r"BASH_FUNC_(.+)%%", re.DOTALL)
_BUILTIN: Final = "BASH_FUNC_builtin%%"

# What the command starts must not have the state's descriptor. bash cannot mark one as closed at exec, but it does so
# with the copy that it keeps of a descriptor hidden by a redirection (the first free number from 10), and its copies.
_KEEP_BACK: Final = "{ exec {script}>&10; } {state}>&- 2>/dev/null && exec {state}>&{script}; exec {script}>&-; "
_OURS: Final = frozenset({"builtin", "exec"})
"""Builtins that are needed before the command begins; functions of these names are made at the last moment."""

# One line, so that line numbers are the command's own. The descriptor carries what would be too long for an argument.
_WRAPPER: Final = (
    'IFS= builtin read -r -d "" -u {script} REPLY; builtin set -- "$REPLY"; '
    'IFS= builtin read -r -d "" -u {script} REPLY || :; exec {script}<&-; {keep_back}builtin eval "$1"; {eval} "$REPLY"'
)

# No single quotes in what follows, since it is put between single quotes. A subshell mostly does not run a trap for
# DEBUG; if it does, the trap's output is discarded.
_CWD: Final = f'"{_LAST}=${{PWD:-$(/bin/pwd)}}"'
_BY_PROGRAM: Final = f"/usr/bin/env -0 {_CWD} >&@STATE@"
# For an environment that is too large to start a program with. It needs only builtins, unless a function replaces one.
_BY_BUILTINS: Final = (
    "builtin trap - DEBUG ERR RETURN; builtin set +eux; { "
    "while IFS= builtin read -r __arker_name; do "
    "if [[ -n ${!__arker_name+set} && ${!__arker_name@a} != *[aA]* ]]; "
    'then builtin printf "%s=%s\\0" "$__arker_name" "${!__arker_name}"; fi; '
    "done < <(builtin compgen -e); "
    'while IFS=" " builtin read -r __arker_name __arker_name __arker_name; do '
    '__arker_body=$(builtin declare -f -- "$__arker_name"); '
    'builtin printf "BASH_FUNC_%s%%%%=%s\\0" "$__arker_name" "() {${__arker_body#*\\{}"; '
    "done < <(builtin declare -Fx); "
    f'builtin printf "%s\\0" {_CWD}; }} >&@STATE@'
)
_AT_EXIT: Final = f"( {_BY_PROGRAM} ) >/dev/null 2>&1 || ( {_BY_BUILTINS} ) >/dev/null 2>&1"
# Runs before the command's own trap, which may call `exit` itself, and which reads the status from `$?`. A failure in
# an `&&` list, except in its last command, triggers neither ERR nor `set -e`.
_BEFORE_OTHERS: Final = (
    f"( __arker_status=$?; {_BY_PROGRAM} || ( {_BY_BUILTINS} ); builtin exit $__arker_status ) >/dev/null 2>&1 "
    "&& ( : ) 2>/dev/null; "
)

_SETUP: Final = f"builtin trap -- '{_AT_EXIT}' EXIT; builtin set --"
# As the builtin, but for EXIT in the shell itself. A function does not see its caller's traps for ERR, DEBUG and RETURN
# and cannot remove them, so that they are set to nothing instead; one for RETURN would run at the function's own end.
_TRAP: Final = r"""
trap () {
    {
        builtin local - __arker_{at_exit,before,text,action,signal,debug,status}
        builtin set +eux
    } 2>/dev/null
    __arker_at_exit='@AT_EXIT@' __arker_before='@BEFORE_OTHERS@' __arker_status=0 __arker_debug=
    if [[ $# = 0 || ${1-} = -[lpP]* || $# = 1 && ${1-} = -- ]]; then
        __arker_text=$(builtin trap "$@") || __arker_status=$?
        __arker_text=${__arker_text//"$__arker_before"/}$'\n'
        __arker_text=${__arker_text//"trap -- '$__arker_at_exit' EXIT"$'\n'/}
        for __arker_signal in DEBUG ERR RETURN; do
            __arker_text=${__arker_text//"trap -- '' $__arker_signal"$'\n'/}
        done
        __arker_text=${__arker_text%$'\n'}
        if [[ -n $__arker_text ]]; then builtin printf '%s\n' "$__arker_text"; fi
        builtin return $__arker_status
    fi
    if [[ $1 = -- ]]; then builtin shift; fi
    if [[ $# = 1 && ${1^^} != @(EXIT|SIGEXIT|DEBUG|ERR|RETURN) ]] && ! builtin kill -l "$1" >/dev/null 2>&1; then
        builtin trap -- "$1"
        builtin return
    fi
    __arker_action=$1
    if [[ $# = 1 || $1 = +([0-9]) ]]; then __arker_action=-; else builtin shift; fi
    for __arker_signal; do
        case $__arker_signal in
        0 | [Ee][Xx][Ii][Tt] | [Ss][Ii][Gg][Ee][Xx][Ii][Tt])
            if [[ $BASHPID != $$ ]]; then builtin trap -- "$__arker_action" EXIT
            elif [[ -z $__arker_action || $__arker_action = - ]]; then builtin trap -- "$__arker_at_exit" EXIT
            else builtin trap -- "$__arker_before$__arker_action" EXIT; fi ;;
        [Ee][Rr][Rr] | [Rr][Ee][Tt][Uu][Rr][Nn])
            if [[ $__arker_action = - ]]; then builtin trap -- '' "$__arker_signal"
            elif [[ -z $__arker_action || $__arker_signal = [Ee]* ]]
            then builtin trap -- "$__arker_action" "$__arker_signal"
            else builtin trap -- "builtin trap -- ${__arker_action@Q} RETURN" RETURN; fi ;;
        [Dd][Ee][Bb][Uu][Gg]) __arker_debug=1 ;;
        *) builtin trap -- "$__arker_action" "$__arker_signal" || __arker_status=$? ;;
        esac
    done
    if [[ $__arker_action = - ]]; then __arker_action=; fi
    if [[ -z $__arker_debug ]]; then builtin return $__arker_status; fi
    builtin trap -- "$__arker_action" DEBUG
}
""".replace("@AT_EXIT@", _AT_EXIT).replace("@BEFORE_OTHERS@", _BEFORE_OTHERS)


@frozen
class ShellCommand:
    """The arguments, script and environment of a command's process.

    Attributes:
        argv: The arguments of the process.
        script: What it reads from its descriptor for that.
        env: Its environment.
    """

    argv: list[str]
    script: bytes
    env: dict[str, str]


def shell_command(bash: str, command: bytes, env: Mapping[str, str], *, script_fd: int, state_fd: int) -> ShellCommand:
    """Return how to run a command in an environment of any size, so that the session's state is written to a
    descriptor.
    """
    passed, restored = _split(env)
    setup = _SETUP
    if "POSIXLY_CORRECT" not in env and "BASH_FUNC_trap%%" not in env:  # the user's own, or not to be redefined there
        setup = f"if (( BASH_VERSINFO[0] > 4 )); then {_TRAP} fi; {setup}"
    own_eval = "eval" if _BUILTIN in env else "builtin eval"
    wrapper = _WRAPPER.replace("{keep_back}", _KEEP_BACK).replace("{eval}", own_eval)
    wrapper = wrapper.replace("{script}", str(script_fd)).replace("{state}", str(state_fd))
    return ShellCommand(
        [bash, "--noprofile", "--norc", "-c", wrapper, "bash"],
        setup.replace("@STATE@", str(state_fd)).encode() + b"\n" + restored + b"\0" + command,
        passed,
    )


def _split(env: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Split an environment: the part that a program can be started with, and a script that sets the rest."""
    sizes = {name: len(os.fsencode(name)) + len(os.fsencode(value)) + 2 for name, value in env.items()}
    kept = dict(env)
    total = sum(sizes.values())
    for name in sorted(env, key=sizes.__getitem__, reverse=True):
        if sizes[name] <= _LARGEST_ENTRY and total <= _LARGEST_ENVIRONMENT:
            break
        del kept[name]
        total -= sizes[name]
    for name in _OURS:
        kept.pop(f"BASH_FUNC_{name}%%", None)
    # The last one takes `builtin` away from the others.
    left_out = sorted(env.keys() - kept.keys(), key=lambda name: name == _BUILTIN)
    return kept, b"\n".join(filter(None, (_setting(name, env[name]) for name in left_out)))


def _setting(name: str, value: str) -> bytes:
    function = _FUNCTION.fullmatch(name)
    if function is not None:
        called = os.fsencode(function[1])
        export = b"export" if name == _BUILTIN else b"builtin export"
        return b"%s %s\n%s -f %s" % (called, os.fsencode(value), export, called)
    if _NAME.fullmatch(name):
        return b"builtin export %s='%s'" % (os.fsencode(name), os.fsencode(value).replace(b"'", b"'\\''"))
    return b""  # no shell could have set it


def parse_state(content: bytes) -> tuple[str, Mapping[str, str]] | None:
    """Parse the working directory and the environment that a shell left; None when it left none."""
    *entries, last, rest = content.split(b"\0") if content.count(b"\0") else (b"", content)
    mark, _, cwd = last.partition(b"=")
    if rest or mark != _LAST.encode() or not cwd.startswith(b"/"):
        return None
    env: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            env[os.fsdecode(name)] = os.fsdecode(value)
    return os.fsdecode(cwd), {name: value for name, value in env.items() if name not in _OF_ONE_SHELL}


__all__ = ["LARGEST_STATE", "ShellCommand", "parse_state", "shell_command"]
