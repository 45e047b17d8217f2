"""Row ``vmwalls``: the wall time of a VM's start, beside one without the walls that namespaces do not provide."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from attrs import evolve

from arker.emulator.sandbox.bubblewrap.arguments import Host
from arker.emulator.sandbox.bubblewrap.identity import spare_identity
from arker.emulator.sandbox.bubblewrap.interpreter import choose_interpreter
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.bubblewrap.seccomp import choose_filter
from arker.emulator.sandbox.host.machine import Launch, Machine
from benchmarks import vms
from benchmarks.measure import Row, all_cores, interleave_async, run_bounded

NAME: Final = "vmwalls"
_ROUNDS: Final = 60
_EXTRA: Final = {"--as-pid-1": 1, "--cap-add": 2, "--dev-bind": 3, "--remount-ro": 2, "--size": 2}
"""Options of bwrap that serve those walls, and how many words of the command line each takes."""


def measure(base_url: str) -> Row:
    del base_url  # no server is asked
    return run_bounded(_measure())


async def _measure() -> Row:
    with vms.place() as place, all_cores():
        provider = await BubblewrapProvider.open(place / "state")
        try:
            identity = spare_identity()
            interpreter = await choose_interpreter(place / "state", identity)
            host = Host.look(interpreter, identity)
            root = place / "root"
            await asyncio.to_thread(vms.make_root, root, host, identity)
            chosen = choose_filter()
            walled = Launch(
                bwrap=str(provider.bwrap),
                options=host.options(root, {}),
                filter=chosen if isinstance(chosen, bytes) else b"",
                python=interpreter.executable,
                identity=identity,
            )
            bare = evolve(walled, filter=b"", options=_without_walls(walled.options))
            rounds = await interleave_async(lambda: _start(bare), lambda: _start(walled), rounds=_ROUNDS)
        finally:
            await provider.close()
    return rounds.row(NAME, "start of a VM's agent; limit: without filter, caps and the like")


async def _start(launch: Launch) -> float:
    started = time.perf_counter()
    machine = await Machine.start(launch)
    taken = time.perf_counter() - started
    await machine.close()
    await asyncio.sleep(0.01)  # the next sample must not include this one's clean-up
    return taken


def _without_walls(options: Sequence[str]) -> list[str]:
    words = iter(options)
    kept: list[str] = []
    for word in words:
        if word in _EXTRA:
            for _ in range(_EXTRA[word] - 1):
                next(words)
        else:
            kept.append(word)
    return kept
