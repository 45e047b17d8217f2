"""Copies of whole trees by programs of the host, which can do what a loop in Python cannot, or not so fast."""

from __future__ import annotations

import errno
import functools
import importlib.resources
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from arker.emulator.sandbox.tools import ToolError, Tools


@functools.cache
def _deep_copy() -> str:
    return importlib.resources.files("arker.emulator.sandbox").joinpath("deep_copy.py").read_text("utf-8")


async def copy_by_tools(
    tools: Tools,
    source: Path,
    path: Path,
    *,
    mounts: Sequence[str] = (),
    python: str,
    discard: Callable[[Path], Awaitable[None]],
) -> None:
    """Copy a tree with ``cp``; one whose paths are too long for that with a program in Python.

    Args:
        tools: What programs are started with.
        source: The tree.
        path: The place of the copy, which does not exist yet.
        mounts: What is mounted for them.
        python: The interpreter for very long paths.
        discard: Removes what ``cp`` has made before it gave up.
    """
    reflink = ["--reflink=auto"] if sys.platform == "linux" else []
    try:
        await tools.run("cp", "-a", *reflink, str(source), str(path), mounts=mounts)
    except ToolError as error:
        if os.strerror(errno.ENAMETOOLONG) not in error.said:
            raise
        await discard(path)
        await tools.run(python, "-I", "-S", "-c", _deep_copy(), str(source), str(path), mounts=mounts)


__all__ = ["copy_by_tools"]
