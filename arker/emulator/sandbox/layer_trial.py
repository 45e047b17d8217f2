"""A trial of layers: whether the kernel, bubblewrap and the file system have all that they take."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.layers import Layer, Stack
from arker.emulator.sandbox.tools import ToolError, Tools


async def try_layers(
    base: Path, tools: Tools, *, give: Callable[[Path], None], discard: Callable[[Path], Awaitable[None]]
) -> str | None:
    """Try them out in a directory. Returns why they do not work there.

    Args:
        base: The directory.
        tools: Programs that work as the trees' owner.
        give: Makes a path that owner's.
        discard: Removes a tree.
    """
    place = base / f".trial-{os.urandom(8).hex()}"
    stack = Stack([Layer(place / "below")], place / "work")
    try:
        for directory in (place, place / "below", place / "own", place / "work", place / "seen"):
            directory.mkdir(mode=0o755)
            give(directory)
        script = 'cd "$1" && mkdir d && rmdir d && ln -s x l && rm l && mkdir "$2/d" && echo > "$2/d/f"'
        await tools.run("/bin/sh", "-c", script, "sh", str(place / "seen"), str(place / "below"))
        script = 'cd "$1" && rm -r d && mkdir d && test ! -e d/f && echo > e && mv e d'
        mounts = [*stack.options(place / "own")[:-1], str(place / "seen")]
        await tools.run("/bin/sh", "-c", script, "sh", str(place / "seen"), mounts=mounts)
    except (ToolError, SandboxError, OSError) as error:
        return str(error)
    finally:
        with contextlib.suppress(SandboxError, OSError):
            await discard(place)
    return None


__all__ = ["try_layers"]
