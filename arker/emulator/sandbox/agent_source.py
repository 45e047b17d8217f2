"""The agent's program, as one file that a Python inside a VM can run without this package."""

from __future__ import annotations

import functools
import importlib.resources

from arker.emulator.sandbox.agent import MODULES

_PACKAGE = "arker.emulator.sandbox.agent"

# The modules are put where their own import statements look first, so that they are importable here and there alike.
_LOADER = """\
import sys
for name, source in {sources!r}:
    module = type(sys)(name)
    sys.modules[name] = module
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


@functools.cache
def agent_source() -> bytes:
    """The program's text. Its arguments: the socket's descriptor, its own descriptor, 1 to limit processes or 0."""
    directory = importlib.resources.files(_PACKAGE)
    sources = [(f"{_PACKAGE}.{name}", (directory / f"{name}.py").read_text("utf-8")) for name in MODULES]
    return _LOADER.format(sources=sources).encode()


__all__ = ["agent_source"]
