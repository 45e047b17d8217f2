"""Why the VM refused a file: read from the server's error, or found out by a program in the VM.

Servers differ in what their errors say. The embedded backend begins the message with the name of the system's error
(``EISDIR: it is a directory``). Where there is no such name, a program looks at the path itself.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from arker._basics.programs import shell_program
from arker._lifecycle.sdk_session import run_in_own_session
from arker._tasks import clock
from arker.errors import (
    ApiError,
    ArkerError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    RemoteFileError,
    TransferError,
)
from arker.errors.remote import number_of, remote_file_error

if TYPE_CHECKING:
    from arker._context import Place
    from arker.models import CompletedRunResult

logger = logging.getLogger("arker")

_PATHS: Final = shell_program(__package__, "paths.sh")
_DECODE: Final = shell_program(__package__, "decode.sh")
_EXPLAIN: Final = shell_program(__package__, "explain.sh")

_NAME: Final = re.compile(r"(E[A-Z0-9]{2,15}): ")
_REPORT: Final = re.compile(rb"(?:(.*)\n)?(E[A-Z0-9]{2,15}|\?) ([0-9]{1,2})\n?", re.DOTALL)
_REFUSED: Final = 120
"""The exit code of a program that tells why a path cannot be used."""
_SECONDS: Final = 10.0
"""The most that finding out a reason may take."""
_LONGEST_REASON: Final = 300
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 4095


# --- what the server says -------------------------------------------------------------------------------------------


def _reason_in(error: ApiError) -> tuple[int, str | None] | None:
    """Return the number of the system's error that a server's error tells, and its words; None if it tells none.

    The words are None where the number says as much.
    """
    violations: object = error.details.get("violations")
    texts: list[Any] = [error.message]
    if isinstance(violations, list):
        for each in violations:  # pyright: ignore[reportUnknownVariableType]
            if isinstance(each, dict):
                field: Any = each.get("field")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
                if isinstance(field, str) and field.endswith("path"):
                    texts.append(each.get("message"))  # pyright: ignore[reportUnknownMemberType]
    for text in texts:
        match = _NAME.match(text) if isinstance(text, str) else None
        if match is not None and (number := number_of(match[1])) is not None:
            said = text[match.end() :][:_LONGEST_REASON]
            return number, f"{os.strerror(number)}: {said}" if number == errno.EINVAL and said else None
    return (errno.ENOENT, None) if error.details.get("resource") == "file" and _is_missing(error) else None


def _is_missing(error: ApiError) -> bool:
    return isinstance(error, NotFoundError) and error.code == "not_found"


def typed(error: ArkerError, path: str) -> ArkerError:
    """Return the error of a file's own class if the server's error tells the reason; else the error itself."""
    if not isinstance(error, ApiError) or isinstance(error, RemoteFileError) or not error.from_service:
        return error
    reason = _reason_in(error)
    return error if reason is None else remote_file_error(path, *reason, said=error)


async def explained(place: Place, error: ArkerError, path: str, doing: Literal["read", "write"]) -> ArkerError:
    """Return the error of a file's own class for the error of a server, which may not have told the reason."""
    shown = place.redact(path)
    found = typed(error, shown)
    if found is not error or not _may_be_explained(error):
        return found
    if _is_too_long(path):
        return remote_file_error(shown, number_of("ENAMETOOLONG"), said=error)
    try:
        with clock.move_on_after(_SECONDS):
            result = await run_in_own_session(place, path_command(_EXPLAIN, [doing, path]))
            refusal = refusal_of(result, [shown], place.redact)
            return error if refusal is None else remote_file_error(shown, refusal.errno, said=error)
    except ArkerError as problem:
        logger.debug("why %s was refused could not be found out: %s", path, problem)
    return error


def _may_be_explained(error: ArkerError) -> bool:
    if type(error) is TransferError:
        return True  # a command in the VM has failed
    if not isinstance(error, NotFoundError | BadRequestError | ConflictError) or isinstance(error, RemoteFileError):
        return False
    # A server that names another resource has told what is missing.
    return error.from_service and not error.from_store and error.details.get("resource") in (None, "file", "resource")


# --- what a program in the VM says -----------------------------------------------------------------------------------


def path_command(program: str, words: Sequence[str]) -> list[str]:
    """Return the command of a program on paths, for a session's shell.

    Args:
        program: The program's text, which may use the functions of ``paths.sh``.
        words: Its arguments; bytes that are not UTF-8 are surrogates, as `os.fsdecode` makes them.
    """
    text = _PATHS + program
    if not all(map(is_utf8, words)):
        text, words = _DECODE + text, [octal(word.encode("utf-8", "surrogateescape")) for word in words]
    return ["sh", "-c", text, "sh", *words]


def is_utf8(word: str) -> bool:
    """Return whether a text can be sent as it is."""
    return word.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in word)


_PLAIN: Final = frozenset(b"/._-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def octal(data: bytes) -> str:
    """Write bytes for ``%b`` of printf."""
    return "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in data)


def refusal_of(
    result: CompletedRunResult, paths: Sequence[str], redact: Callable[[str], str]
) -> RemoteFileError | None:
    """Return the error that a program on paths has reported; None if it has not reported any.

    Args:
        result: The result of the program's run.
        paths: The paths that its numbers stand for, from 1 on.
        redact: Removes the API key from what a tool has said.
    """
    match = _REPORT.fullmatch(result.stderr) if result.exit_code == _REFUSED else None
    if match is None:
        return None
    number = int(match[3])
    path = paths[number - 1] if 0 < number <= len(paths) else paths[0]
    said = (match[1] or b"").decode("utf-8", "replace").strip()
    name = match[2].decode()
    if name in ("ENOENT", "?") and _is_too_long(path):
        name = "ENAMETOOLONG"
    return remote_file_error(path, number_of(name), redact(said)[-300:] if name == "?" else None)


def _is_too_long(path: str) -> bool:
    names = path.encode("utf-8", "surrogateescape")
    return len(names) > _LONGEST_PATH or any(len(name) > _LONGEST_NAME for name in names.split(b"/"))


__all__ = ["explained", "is_utf8", "octal", "path_command", "refusal_of", "typed"]
