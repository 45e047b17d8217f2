"""VMs without isolation: commands run as the server's own user, in a plain directory for each VM.

Only what the server hands over is mapped: paths of files, HOME, TMPDIR and the working directory. An absolute path
inside a command means the host's.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import warnings
from pathlib import Path

from attrs import frozen

from arker.emulator.sandbox.agent_provider import AgentProvider
from arker.emulator.sandbox.agent_sandbox import Inside
from arker.emulator.sandbox.base import HOME, IsolationUnavailableError
from arker.emulator.sandbox.machine import Launch
from arker.emulator.sandbox.trees import DirectoryStorage, Tree


class UnprotectedWarning(UserWarning):
    """Commands of "VMs" run on this machine with all rights of the current user."""


class PlainProvider(AgentProvider):
    """Implements `SandboxProvider` with ``isolation="none"``."""

    name = "none"

    def __init__(self, storage: DirectoryStorage, bash: str) -> None:
        super().__init__(storage)
        self._bash = bash

    @classmethod
    async def open(cls, state_dir: Path) -> PlainProvider:
        """Keep the VMs' directories under ``state_dir``."""
        bash = shutil.which("bash")
        if bash is None:
            raise IsolationUnavailableError("commands run in bash, and there is none on PATH")
        warnings.warn(
            "isolation is off: commands run unprotected, as the current user, on this machine",
            UnprotectedWarning,
            stacklevel=2,
        )
        base = await asyncio.to_thread(state_dir.resolve) / "vms"
        return cls(DirectoryStorage(base, identity=None, tool_prefix=(), furnish=_furnish), bash)

    def _inside(self, tree: Tree) -> Inside:
        paths = _Paths(str(tree.path))
        return Inside(env=_environment(paths), bash=self._bash, to_inside=paths.to_inside, to_outside=paths.to_outside)

    async def _launch(self, tree: Tree) -> Launch:
        return Launch(python=sys.executable)


@frozen
class _Paths:
    """A VM's paths are those of the host below a directory."""

    root: str

    def to_inside(self, path: str) -> str:
        # `..` must not lead out of the directory, as it does not lead above a real root.
        return self.root + os.path.normpath("/" + path.lstrip("/"))

    def to_outside(self, path: str) -> str:
        return path[len(self.root) :] or "/" if (path + "/").startswith(self.root + "/") else path


def _furnish(path: Path) -> None:
    for name in (HOME.lstrip("/"), "tmp"):
        (path / name).mkdir(parents=True)


def _environment(paths: _Paths) -> dict[str, str]:
    # Not the server's environment: there may be keys in it.
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "USER", "LOGNAME", "TZ") if name in os.environ}
    return {**kept, "SHELL": "/bin/bash", "HOME": paths.to_inside(HOME), "TMPDIR": paths.to_inside("/tmp")}  # noqa: S108


__all__ = ["PlainProvider", "UnprotectedWarning"]
