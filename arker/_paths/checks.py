"""Checks of the arguments of `AsyncFiles`."""

from __future__ import annotations

from pathlib import PurePosixPath

from arker.errors import InvalidArgumentError
from arker.models import _checks as check

_MODES = 0o7777


def check_path(path: object, argument: str = "path") -> str:
    """Check a path in the VM, and return it in a form that no program takes for an option.

    Names may be of any bytes; those that are not UTF-8 are surrogates, as `os.fsdecode` makes them.
    """
    text = str(path) if isinstance(path, PurePosixPath) else path
    what = "a non-empty path in the VM, as a string or PurePosixPath"
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidArgumentError(argument, path, f"expected {what}")
    check_bytes(argument, text, what)
    text = check.from_home(argument, text)
    return text if text.startswith(("/", "./", "../")) or text in (".", "..") else f"./{text}"


def named(path: str) -> str:
    """Return a checked path as errors name it: without a ``./`` that it does not need."""
    rest = path.removeprefix("./")
    return rest if rest and not rest.startswith(("/", "~", "-")) else path


def check_bytes(argument: str, text: str, what: str) -> None:
    """Check that a text stands for bytes."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgumentError(
            argument, text, f"expected {what}, without surrogates other than those of os.fsdecode"
        ) from None


def check_target(target: object) -> str:
    """Check the target of a symlink."""
    text = str(target) if isinstance(target, PurePosixPath) else target
    what = "the path that the symlink leads to, as a string or PurePosixPath"
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidArgumentError("target", target, f"expected {what}")
    check_bytes("target", text, what)
    return text


def check_mode(value: object) -> str:
    """Check permission bits, and return them in octal digits; nothing for None."""
    if value is None:
        return ""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MODES:
        raise InvalidArgumentError("mode", value, "expected permission bits, such as 0o755")
    return f"{value:04o}"


def check_owner(argument: str, value: object) -> str:
    """Check the number or the name of a user or group; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(check.check_integer(argument, value, minimum=0))
    name = check.check_text(argument, value, what="a number or a name")
    if not all(letter.isalnum() or letter in "_.-$" for letter in name) or name.startswith("-"):
        raise InvalidArgumentError(argument, value, "expected a number or a name")
    return name


__all__ = ["check_bytes", "check_mode", "check_owner", "check_path", "check_target", "named"]
