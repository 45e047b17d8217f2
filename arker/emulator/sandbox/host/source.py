"""The agent's program, as a Python inside a VM can run it without this package."""

from __future__ import annotations
import __future__

import functools
import importlib.resources
import marshal
import subprocess
import sys
from collections.abc import Sequence

from arker.emulator.sandbox.agent import MODULES

_PACKAGE = "arker.emulator.sandbox.agent"
_FORMAT = 2
"""Of the data that Pythons of different versions exchange."""
_FUTURE = "from __future__ import annotations\n"

# The modules are put where their own import statements look first, so that they are importable here and there alike.
# What they import of the library is compiled and lies together: in other directories there is nothing to look for. The
# names of encodings that an agent never uses give their memory to its program.
LOADER = """\
import marshal, posix, sys
sys.path.sort(key=lambda place: not place.endswith("lib-dynload"))
sys.modules["encodings.aliases"].aliases.clear()
def load():
    fd = int(sys.argv[2])
    size = int(posix.pread(fd, 8, 0))
    version, modules = marshal.loads(posix.pread(fd, size, 8))
    if version == sys.version:
        modules = marshal.loads(modules)
    else:
        sources = marshal.loads(posix.pread(fd, posix.fstat(fd).st_size, 8 + size))
        modules = [(name, compile(source, name, "exec")) for name, source in sources]
    for name, code in modules:
        module = sys.modules[name] = type(sys)(name)
        exec(code, module.__dict__)
    return module.main
load()()
"""
"""The program for ``python -c``. Arguments: the socket's descriptor, `agent_program`'s, 1 in a VM or 0, limits."""

# It is a program of a Python that is not necessarily this one, nor of its version.
_COMPILER = """\
import __future__, _ctypes, _json, _socket, fcntl, marshal, resource, select, sys
if sys.version_info < (3, 8):
    sys.exit("it is too old")
flags = __future__.annotations.compiler_flag
modules = marshal.loads(sys.stdin.buffer.read())
code = marshal.dumps([(n, compile(s, n, "exec", flags, True, 2)) for n, s in modules])
sys.stdout.buffer.write(sys.version.encode() + b"\\0" + code)
"""


@functools.cache
def _sources() -> list[tuple[str, str]]:
    directory = importlib.resources.files(_PACKAGE)
    # That an import of `__future__` stands in them is no reason to look for that module at each start.
    return [(f"{_PACKAGE}.{name}", (directory / f"{name}.py").read_text("utf-8")) for name in MODULES]


def _to_compile() -> list[tuple[str, str]]:
    return [(name, source.replace(_FUTURE, "\n", 1)) for name, source in _sources()]


def _program(version: str, code: bytes) -> bytes:
    compiled = marshal.dumps((version, code), _FORMAT)
    return b"%8d" % len(compiled) + compiled + marshal.dumps(_sources(), _FORMAT)


@functools.cache
def agent_program() -> bytes:
    """Return the program for `LOADER`, compiled for this Python. Any other, of version 3.8 or newer, compiles it itself
    at each start.
    """
    flags = __future__.annotations.compiler_flag
    code = [(name, compile(source, name, "exec", flags, True, 2)) for name, source in _to_compile()]
    return _program(sys.version, marshal.dumps(code))


def compile_agent(
    python: str, *, user: int | None = None, group: int | None = None, groups: Sequence[int] | None = None
) -> bytes | None:
    """Return the program for `LOADER`, compiled for another Python; None when that one cannot run agents. Blocks.

    Args:
        python: Its path.
        user: Who runs it; None for the current user. So for the others.
        group: Its group.
        groups: Its further groups.
    """
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-X", "no_debug_ranges", "-c", _COMPILER],
            input=marshal.dumps(_to_compile(), _FORMAT),
            env={},
            cwd="/",
            capture_output=True,
            timeout=30,
            check=False,
            user=user,
            group=group,
            extra_groups=groups,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version, separator, code = done.stdout.partition(b"\0")
    return _program(version.decode("utf-8", "replace"), code) if done.returncode == 0 and separator else None


__all__ = ["LOADER", "agent_program", "compile_agent"]
