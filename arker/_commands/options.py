"""What a caller asks for beside a command: its environment, directory, input, and its end on cancellation."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import field, frozen

from arker._commands.shell import READ_ONLY
from arker._commands.sinks import Sink, sink_of
from arker._files.sources import check_buffer, is_buffer
from arker.errors import InvalidArgumentError
from arker.models import _checks as check

if TYPE_CHECKING:
    from arker.models import RunRequest
    from arker.transfer import RemotePath

OnCancel: TypeAlias = Literal["leave", "kill"]
"""What becomes of a command whose caller is cancelled."""

_MEMBERS: Final[Mapping[str, str]] = {
    "env": "env",
    "cwd": "cwd",
    "input": "input",
    "stdin": "stdin",
    "on_stdout": "stdout",
    "on_stderr": "stderr",
    "on_cancel": "kill",
}
"""Arguments, and where `Options` have them."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@frozen(kw_only=True)
class Options:
    """What a command gets, checked.

    Attributes:
        env: Variables.
        cwd: Its directory.
        input: Its input: bytes, or the path of a local file.
        stdin: Whether its input comes by calls later on.
        kill: Whether it ends with its caller.
        stdout: What takes its standard output as it comes.
        stderr: What takes its standard error as it comes.
    """

    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | None = None
    input: bytes | str | None = field(default=None, repr=False)
    stdin: bool = False
    kill: bool = False
    stdout: Sink | None = None
    stderr: Sink | None = None

    @property
    def wraps(self) -> bool:
        """Whether the command goes in a subshell."""
        return self.env is not None or self.cwd is not None or self.input is not None or self.stdin

    @property
    def follows(self) -> bool:
        """Whether the run has to be known by its id from its beginning."""
        return self.kill or self.stdout is not None or self.stderr is not None


def check_effect(request: RunRequest, options: Options | None) -> None:
    """Refuse what a command gets where the request starts none."""
    if options is None or (request.signal is None and request.command.strip()):
        return
    for argument, member in _MEMBERS.items():
        if getattr(options, member) not in (None, False):
            raise request.without_effect(argument, "(not shown)")


def make_options(
    *,
    env: Mapping[str, str] | None = None,
    cwd: RemotePath | None = None,
    input: str | bytes | bytearray | memoryview | os.PathLike[str] | None = None,
    stdin: bool = False,
    on_cancel: str = "leave",
    on_stdout: Any = None,
    on_stderr: Any = None,
) -> Options | None:
    """Check what a command gets. Return None if that is nothing, so that it is sent as it is."""
    if (
        env is None
        and cwd is None
        and input is None
        and stdin is False
        and on_cancel == "leave"
        and on_stdout is None
        and on_stderr is None
    ):
        return None
    check.check_one_of("on_cancel", on_cancel, ("leave", "kill"))
    if not isinstance(stdin, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("stdin", stdin, "expected True or False; the input itself is given as input=")
    if stdin and input is not None:
        raise InvalidArgumentError("stdin", stdin, "expected either input= or stdin=True")
    return Options(
        env=_env(env),
        cwd=_cwd(cwd),
        input=_input(input),
        stdin=stdin,
        kill=on_cancel == "kill",
        stdout=sink_of("on_stdout", on_stdout),
        stderr=sink_of("on_stderr", on_stderr),
    )


def _env(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not check.is_mapping(value):
        raise InvalidArgumentError("env", "(not shown)", "expected a mapping of names to strings")
    checked: dict[str, str] = {}
    for name, content in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidArgumentError("env", name, "expected names of letters, digits and '_', not a digit first")
        if name in READ_ONLY:
            raise InvalidArgumentError("env", name, "expected names of variables that a shell lets be changed")
        if not check.is_string(content):
            # The message does not show the value: environments contain secrets.
            expected = "expected a string, without NUL and lone surrogates"
            raise InvalidArgumentError(f"env[{name!r}]", "(not shown)", expected)
        checked[name] = content
    return checked


def _cwd(value: object) -> str | None:
    if value is None:
        return None
    what = "a non-empty path in the VM, as a string or PurePosixPath"
    text = check.check_text("cwd", str(value) if isinstance(value, PurePosixPath) else value, what=what)
    check.from_home("cwd", text)  # refuses other users' homes
    return text


def _input(value: object) -> bytes | str | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError("input", "(not shown)", "expected text without lone surrogates") from None
    if is_buffer(value):
        return bytes(check_buffer("input", value))
    is_path = isinstance(value, os.PathLike)
    path = _path_of(value) if is_path else None
    if isinstance(path, str) and path and "\0" not in path:
        return path
    shown = path if is_path else f"(of type {_type_of(value)})"  # what else it may hold is not shown
    raise InvalidArgumentError("input", shown, "expected text, bytes, or the path of a local file (a pathlib.Path)")


def _path_of(value: Any) -> object:
    convert: Any = os.fspath  # its overloads say nothing of a value of any type
    path: object = convert(value)
    return path


def _type_of(value: object) -> str:
    return type(value).__name__


__all__ = ["OnCancel", "Options", "check_effect", "make_options"]
