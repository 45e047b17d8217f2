"""The text of a command that runs in a subshell of its session, with an environment, a directory and an input.

The subshell is one of the session's own shell, so that the command finds what the session has, and changes nothing of
it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from shlex import quote, split
from typing import Final

from attrs import field, frozen

from arker._basics.programs import shell_program

REFUSED: Final = 125
"""The exit code of a subshell that has not come to its command."""
READ_ONLY: Final = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
"""Variables that a shell sets for itself and keeps from being changed."""
_REFUSAL: Final = shell_program(__package__, "refusal.sh").splitlines()[-1]
_SIGNALS: Final = "HUP INT QUIT USR1 USR2 ALRM TERM"
"""Signals that a command may handle. The shell around it, which gets them as well, must not die of them."""
_BYTES: Final = {
    **{byte: f"\\{byte:03o}" for byte in range(256)},
    **{byte: chr(byte) for byte in range(0x20, 0x7F) if byte not in b"\\%'"},
    0x0A: "\\n",
    0x25: "%%",
}
"""How ``printf`` is told a byte."""


@frozen
class Origin:
    """What a subshell in a session of the SDK's own takes over of another session first.

    Attributes:
        cwd: Its directory; None for the session's own.
        env: Variables to set.
        unset: Variables to remove.
    """

    cwd: str | None = None
    env: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    unset: tuple[str, ...] = ()


@frozen
class Subshell:
    """What a command gets in its subshell.

    Attributes:
        mark: The beginning of the line that says why the command was not run.
        env: Variables to set for it.
        cwd: Its directory.
        data: Its input.
        file: The file in the VM that has its input instead; it is removed when it has been opened.
        feed: A shell command instead, whose output is its input.
        after: A shell command that is run when it has ended.
        origin: What is taken over of another session.
    """

    mark: str
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | None = None
    data: bytes = field(default=b"", repr=False)
    file: str | None = None
    feed: str | None = None
    after: str | None = None
    origin: Origin | None = None

    def line(self, command: str) -> str:
        """Return the line for the session's shell."""
        # Not every shell redirects a subshell inside of a redirection.
        inner = f"( \\exec 2>&9 9>&-; {self._before()}\\eval {quote(command)} )"
        if self.after is not None:
            inner = f"( {inner}; __arker_status=$?; {self.after}; exit $__arker_status )"
        if self.feed is not None:
            inner = f"{{ {self.feed}; }} | {inner}"
        elif self.data:
            inner = f"{{ \\trap '' PIPE; \\printf '{printf_format(self.data)}'; }} | {inner}"
        # A shell tells of a child that a signal has killed, and shows its text: so its own messages go nowhere.
        whole = f"{{ {inner}; }} 9>&2 2>/dev/null </dev/null"
        # What reports the status comes last; nothing else of it may stay in a session's shell.
        status = 'eval "unset __arker_status; [ $__arker_status = 0 ] || ( exit $__arker_status )"'
        return f"{_trap(':')}; {whole}; __arker_status=$?; {_trap('-')}; {status}"

    def _before(self) -> str:
        """Return the steps before the command."""
        steps: list[str] = []
        refuse = f"exit {REFUSED}; }}"
        if self.file is not None:
            file = quote(self.file)
            steps.append(f"[ -r {file} ] || {{ \\printf '%s\\n' '{self.mark} input' >&2; {refuse}")
            steps.append(f"\\exec <{file}; \\rm -f -- {file}")  # what is open stays readable
        origin = self.origin
        if origin is not None:
            if origin.cwd is not None:
                steps.append(f"\\cd -- {_directory(origin.cwd)} 2>/dev/null || :")
            if origin.unset:
                steps.append(f"\\unset -v {' '.join(origin.unset)}")
            if origin.env:
                steps.append(_export(origin.env))
        if self.cwd is not None:
            where = _directory(self.cwd)
            steps.append(f"\\cd -- {where} 2>/dev/null || {{ ( set -- {where} {self.mark}; {_REFUSAL} ); {refuse}")
        if self.env:
            steps.append(f"{_export(self.env)} || {{ \\printf '%s\\n' '{self.mark} env' >&2; {refuse}")
        return "".join(f"{step}; " for step in steps)


_WORD: Final = re.compile(r"""\s+|(?:[^\s'"\\]|'[^']*'|"(?:[^"\\]|\\.)*"|\\.)+""", re.DOTALL)


def command_in(line: str) -> str:
    """Return the command that a line of a `Subshell` is for. Any other line is returned as it is."""
    start = line.find("( \\exec 2>&9 9>&-; ") if line.startswith(f"{_trap(':')}; {{ ") else -1
    if start < 0:
        return line
    is_next = False
    while (word := _WORD.match(line, start)) is not None:
        start, text = word.end(), word[0]
        if text.isspace():
            continue
        if is_next:
            return split(text)[0]
        is_next = text == "\\eval"
    return line  # the server has cut it off


def _trap(action: str) -> str:
    # A session may have a function of this name, which is slow; not every shell has this way past it.
    return f"\\command trap {action} {_SIGNALS} 2>/dev/null || \\trap {action} {_SIGNALS}"


def _export(env: Mapping[str, str]) -> str:
    return "\\export " + " ".join(quote(f"{name}={value}") for name, value in env.items())


def _directory(path: str) -> str:
    """Return a path as an operand: one that is relative begins with a dot, so that it is no option and no search."""
    if path == "~" or path.startswith("~/"):
        return f'"${{HOME%/}}"/{quote("./" + path[2:].lstrip("/"))}'
    return quote(path if path.startswith("/") else f"./{path}")


def printf_format(data: bytes) -> str:
    """Return the argument with which ``printf`` writes some bytes. It has no single quote."""
    text = "".join(map(_BYTES.__getitem__, data))
    # An option begins with a dash.
    return f"\\055{text[1:]}" if text.startswith("-") else text


def mark_of(key: str) -> str:
    """Return a mark. A repeated request has the same one, since it must be the same byte for byte."""
    return f"arker-{sha256(b'mark of a subshell' + key.encode()).hexdigest()[:24]}"


def refusal(mark: str, stderr: bytes) -> str | None:
    """Return in a word why a command was not run; None if that is not said."""
    start = f"{mark} ".encode()
    for line in _lines(stderr):
        if line.startswith(start):
            return line[len(start) :].decode("ascii", "replace").strip()
    return None


def without_refusal(mark: str, stderr: bytes) -> bytes:
    """Return standard error up to the line that says why the command was not run, which is for the client only."""
    start = f"{mark} ".encode()
    if start not in stderr:
        return stderr
    kept = itertools.takewhile(lambda line: not line.startswith(start), stderr.splitlines(keepends=True))
    return b"".join(kept)


def _lines(stderr: bytes) -> Iterable[bytes]:
    return stderr[-64 * 1024 :].split(b"\n")


def read_and_removed(file: str) -> str:
    """Return a command that runs the script in a file in the session itself. The file is gone when it begins."""
    path = quote(file)
    return f"\\eval \"$(\\cat -- {path} 2>/dev/null || \\printf '( exit {REFUSED} )'; \\rm -f -- {path})\""


__all__ = [
    "READ_ONLY",
    "REFUSED",
    "Origin",
    "Subshell",
    "command_in",
    "mark_of",
    "printf_format",
    "read_and_removed",
    "refusal",
    "without_refusal",
]
