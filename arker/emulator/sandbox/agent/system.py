"""What the agent needs of modules that take long to import: calls into the C library, JSON, and a few of ``os.path``.

``ctypes``, ``json``, ``socket`` and ``contextlib`` import tens of other modules, which cost more time and memory than
all the rest of an agent. What they are built on, ``_ctypes``, ``_json`` and ``_socket``, costs next to nothing.
"""

from __future__ import annotations

import _ctypes
import _json
import _struct
import posix as os
from _stat import S_ISDIR

TYPE_CHECKING = False  # typing is not imported in the VM: see the package
if TYPE_CHECKING:
    from typing import Any


class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = Int


def function(name: str) -> Any:
    """Return a function of the C library, which takes integers, bytes and pointers. Raises `OSError`."""
    return Function(_ctypes.dlsym(LIBRARY, name))


LIBRARY = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
last_error = _ctypes.get_errno


def give_back_memory() -> None:
    """Give the memory that has been freed back to the system, which keeps idle agents small."""
    try:
        trim = function("malloc_trim")
    except OSError:  # it is another C library than glibc
        return
    trim(0)


class Settings:
    """The settings of a JSON scanner."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = None


scan: Any = _json.make_scanner(Settings)  # type: ignore[arg-type]


def parse_json(data: bytes) -> Any:
    text = data.decode("utf-8")
    try:
        value, end = scan(text, 0)
    except StopIteration:
        raise ValueError("it is no JSON") from None
    if end != len(text):
        raise ValueError("there is something after the JSON")
    return value


def _is_a(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind)  # not in place: type checkers would narrow to members of an unknown type


def to_json(value: Any) -> str:
    if isinstance(value, str):
        return _json.encode_basestring_ascii(value)
    if _is_a(value, dict):
        return "{" + ",".join(f"{to_json(name)}:{to_json(entry)}" for name, entry in value.items()) + "}"
    if _is_a(value, (list, tuple)):
        return "[" + ",".join(map(to_json, value)) + "]"
    if _is_a(value, int):
        return int.__repr__(value)
    raise TypeError(f"there is no JSON for a {type(value).__name__}")


def pack_length(size: int) -> bytes:
    return _struct.pack("!I", size)


def fsencode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def exists(path: str) -> bool:
    try:
        os.stat(path)
    except (OSError, ValueError):
        return False
    return True


def split(path: str) -> tuple[str, str]:
    """Return the directory of a path, and the name in it."""
    start = path.rfind("/") + 1
    head, name = path[:start], path[start:]
    return head.rstrip("/") or head, name


def make_directories(path: str) -> None:
    """Make a directory and those above it, as far as they are not there."""
    missing: list[str] = []
    while not exists(path):
        missing.append(path)
        path, name = split(path)
        if not name and not path:
            break
    if not missing:
        if not S_ISDIR(os.stat(path).st_mode):
            os.mkdir(path)  # which tells what is wrong
        return
    while missing:
        path = missing.pop()
        try:
            os.mkdir(path)
        except FileExistsError:
            if not S_ISDIR(os.stat(path).st_mode):
                raise
