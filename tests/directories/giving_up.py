"""Transfers of directories that are cancelled at random moments."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from arker import AsyncVM
from tests.directories.support import Directory, File, Link, Model, build, look, remove

FIRST: Model = {
    **{f"d/f{number}": File(b"first") for number in range(20)},
    "large": File(bytes(4200 * 1024)),
    "same": File(b"same"),
    "kind": File(b"first"),
    "gone/x": File(b"first"),
}
SECOND: Model = {
    **{f"d/f{number}": File(b"second", 0o600) for number in range(30)},
    "d/\udcff": File(b"second"),
    "large": File(b"\1" * 4100 * 1024),
    "same": File(b"same"),
    "kind": Directory(),
    "kind/link": Link("../same"),
}


async def give_up(vm: AsyncVM, place: Path, rng: random.Random, *, times: int) -> Counter[str]:
    """Fails if a transfer that was cancelled leaves anything behind, or any file half written."""
    seen: Counter[str] = Counter()
    trees = [build(place / "first", FIRST), build(place / "second", SECOND)]
    wholes = [look(tree) for tree in trees]
    before = {session.session_id for session in (await vm.list_sessions()).sessions}
    back = place / "back"
    # How long each takes when it is let alone.
    lengths: dict[str, float] = {"up": 0.0, "down": 0.0}
    for tree in trees:
        for way in lengths:
            began = time.monotonic()
            await _transfer(vm, way, tree, back)
            lengths[way] = time.monotonic() - began
    current = 1
    for number in range(times):
        tree, way = trees[1 - current], ("up", "down")[number % 2]
        if way == "down":
            await _transfer(vm, "up", tree, back)
        task = asyncio.ensure_future(_transfer(vm, way, tree, back))
        # At least the first of either way are not over by then, however the machine is loaded.
        await asyncio.wait({task}, timeout=0.0 if number < 2 else rng.uniform(0, lengths[way]))
        task.cancel()
        try:
            await task
            seen[f"{way}: done"] += 1
        except asyncio.CancelledError:
            seen[f"{way}: cancelled"] += 1
        assert {session.session_id for session in (await vm.list_sessions()).sessions} == before
        left = await vm.run("find . -name '.arker-*' -o -name '*.part'", check=True)
        assert left.stdout == b""
        if way == "up":
            assert (await vm.download_dir("r", back, delete=True, symlinks="all")).failures == ()
        assert not [name for name in os.listdir(back) if name.startswith(".arker-")]
        _require_whole(look(back), wholes)
        assert (await _transfer(vm, "up", tree, back)) == []
        await _transfer(vm, "down", tree, back)
        assert look(back) == wholes[1 - current]
        current = 1 - current
    for path in (*trees, back):
        remove(path)
    return seen


def _transfer(vm: AsyncVM, way: str, tree: Path, back: Path) -> Coroutine[Any, Any, list[object]]:
    async def up() -> list[object]:
        return list((await vm.upload_dir(tree, "r", delete=True)).failures)

    async def down() -> list[object]:
        return list((await vm.download_dir("r", back, delete=True, symlinks="all")).failures)

    return up() if way == "up" else down()


def _require_whole(found: Model, wholes: list[Model]) -> None:
    """Each file is that of one of the two directories (but for permissions, which come last)."""
    for path, node in found.items():
        candidates = [whole[path] for whole in wholes if path in whole]
        if isinstance(node, File):
            assert node.data in [other.data for other in candidates if isinstance(other, File)], path
        else:
            assert type(node) in {type(other) for other in candidates} | {Directory}, path
