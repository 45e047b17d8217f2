"""The agent's program, as one file that a Python inside a VM can run without this package."""

from __future__ import annotations

import functools
import importlib.resources
import marshal
import sys

from arker.emulator.sandbox.agent import MODULES

_PACKAGE = "arker.emulator.sandbox.agent"

# The modules are put where their own import statements look first, so that they are importable here and there alike.
# If the VM has the server's own Python, it gets the compiled code. That saves half of an agent's start-up time.
_LOADER = """\
import marshal, sys
for name, source, code in {modules!r}:
    module = type(sys)(name)
    sys.modules[name] = module
    same = (sys.version, sys.implementation.name) == {version!r}
    exec(marshal.loads(code) if same else compile(source, name, "exec"), module.__dict__)
module.main()
"""


@functools.cache
def agent_source() -> bytes:
    """Return the program's text. Arguments: the socket's descriptor, its own descriptor, 1 to limit processes or 0."""
    directory = importlib.resources.files(_PACKAGE)
    modules: list[tuple[str, str, bytes]] = []
    for name in MODULES:
        source = (directory / f"{name}.py").read_text("utf-8")
        code = compile(source, f"{_PACKAGE}.{name}", "exec", dont_inherit=True, optimize=0)
        modules.append((f"{_PACKAGE}.{name}", source, marshal.dumps(code)))
    return _LOADER.format(modules=modules, version=(sys.version, sys.implementation.name)).encode()


__all__ = ["agent_source"]
