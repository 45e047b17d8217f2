"""Checks of the arguments of transfers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, get_args

from arker.errors import InvalidArgumentError
from arker.models import MAX_PUT_SIZE
from arker.models import _checks as check
from arker.transfer import UploadWay, Verify

if TYPE_CHECKING:
    from arker.transfer import TransferProgress

_SMALLEST: Final = 64 * 1024
_MODES: Final = 0o7777


def check_path(path: object, argument: str = "path") -> str:
    """Check a path in the VM, and return it as text. A leading ``~/`` is the home directory, as in a shell."""
    if isinstance(path, PurePosixPath):
        path = str(path)
    text = check.check_text(argument, path, what="a non-empty path in the VM, as a string or PurePosixPath")
    return check.from_home(argument, text)


def check_concurrency(value: object) -> int | None:
    """Check the number of concurrent requests; None for the default."""
    return None if value is None else check.check_integer("concurrency", value, minimum=1)


def check_part_size(value: object) -> int | None:
    """Check the size of a part in bytes; None to choose it by the file's size."""
    if value is None:
        return None
    size = check.check_integer("part_size", value, minimum=_SMALLEST, what="a number of bytes")
    if size > MAX_PUT_SIZE:
        raise InvalidArgumentError("part_size", value, f"expected at most {MAX_PUT_SIZE} bytes (5 GiB)")
    return size


def check_strategy(value: object) -> None:
    check.check_one_of("strategy", value, ("auto", *get_args(UploadWay)))


def check_verify(value: object) -> None:
    check.check_one_of("verify", value, get_args(Verify))


def check_checksum(value: object, verify: object = "size") -> bool:
    """Check whether the digest of a file is to be sent with it."""
    checksum = check.check_boolean("checksum", value)
    if not checksum and verify == "full":
        raise InvalidArgumentError("checksum", value, "expected True with verify='full', which compares digests")
    return checksum


def check_mode(value: object) -> None:
    """Check permission bits, or None."""
    if value is not None and check.check_integer("mode", value, minimum=0, what="permission bits") > _MODES:
        raise InvalidArgumentError("mode", value, "expected permission bits, such as 0o755")


def check_progress(value: Callable[[TransferProgress], object] | None) -> None:
    """Check a progress function, or None."""
    check.check_function("progress", value)


def encoded(argument: str, text: str) -> bytes:
    """Encode a text as a file's content."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(argument, text, "expected bytes, or text without lone surrogates") from None


__all__ = [
    "check_checksum",
    "check_concurrency",
    "check_mode",
    "check_part_size",
    "check_path",
    "check_progress",
    "check_strategy",
    "check_verify",
    "encoded",
]
