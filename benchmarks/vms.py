"""Shared parts of the rows on the embedded backend: the backend, a small VM, and bubblewrap and bash by hand.

Nothing here is pinned: the client, the server, the VMs and the processes by hand use all cores.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from attrs import field, frozen

from arker import AsyncArker, AsyncVM
from arker.emulator.sandbox.bubblewrap.arguments import Host
from arker.emulator.sandbox.bubblewrap.identity import Identity, spare_identity
from arker.emulator.sandbox.bubblewrap.image import furnish
from arker.emulator.sandbox.bubblewrap.interpreter import choose_interpreter
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from benchmarks.measure import Rounds, all_cores, interleave_async

Source: TypeAlias = str | AsyncVM
"""What can be forked."""

ROUNDS: Final = 25
FILES: Final = 5
"""Small files in the VM that is forked."""


@frozen
class Bare:
    """Processes by hand, started as the backend starts its own.

    Attributes:
        bwrap: The command line up to the program: bubblewrap with a VM's options.
        identity: The user that VMs run as.
    """

    bwrap: Sequence[str]
    identity: Identity | None

    def isolated(self) -> float:
        """Return the seconds that ``true`` takes in bubblewrap with a VM's options."""
        return self._taken([*self.bwrap, "/bin/true"])

    def bash(self) -> float:
        """Return the seconds that ``bash -c true`` takes on the host."""
        return self._taken(["/bin/bash", "-c", "true"])

    def _taken(self, command: list[str]) -> float:
        identity = self.identity
        started = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={},
            cwd="/",
            user=None if identity is None else identity.uid,
            group=None if identity is None else identity.gid,
            extra_groups=None if identity is None else [],
        )
        return time.perf_counter() - started


@frozen
class Bench:
    """The measuring equipment of a row of VMs.

    Attributes:
        client: The client on a backend of its own.
        small: A VM that has run something and holds a few small files.
        bare: Processes by hand.
        golden: Seconds of the work from the golden.
        live: Seconds of the work from ``small``.
    """

    client: AsyncArker
    small: AsyncVM
    bare: Bare
    golden: list[float] = field(factory=list[float])
    live: list[float] = field(factory=list[float])

    async def both(self, work: Callable[[str | AsyncVM], Awaitable[float]]) -> float:
        """Return the mean of the same work from the golden and from the small VM."""
        self.golden.append(await work("ubuntu"))
        self.live.append(await work(self.small))
        return (self.golden[-1] + self.live[-1]) / 2

    async def forked(self, source: str | AsyncVM, *, run: bool) -> float:
        """Return the seconds of a fork, with its first run if wanted. Its deletion is not counted."""
        return await forked(self.client, source, run=run)

    def sources(self) -> str:
        return f"golden {median_ms(self.golden)}, live VM {median_ms(self.live)}"


async def forked(client: AsyncArker, source: Source, *, run: bool) -> float:
    """Return the seconds of a fork, with its first run if wanted. Its deletion is not counted."""
    started = time.perf_counter()
    vm = await client.fork(source)
    if run:
        assert (await vm.run("true")).exit_code == 0
    taken = time.perf_counter() - started
    await vm.delete()
    return taken


@contextmanager
def place() -> Generator[Path, None, None]:
    """Make a directory that the user of VMs may enter."""
    with tempfile.TemporaryDirectory(prefix="arker-bench-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@asynccontextmanager
async def bench() -> AsyncGenerator[Bench, None]:
    """Start the backend with a small VM in it, and make a root filesystem for bubblewrap by hand."""
    with place() as base, all_cores():
        provider = await BubblewrapProvider.open(base / "state")
        try:
            identity = spare_identity()
            host = Host.look(await choose_interpreter(base / "state", identity), identity)
            root = base / "root"
            await asyncio.to_thread(make_root, root, host, identity)
            bare = Bare([str(provider.bwrap), *host.options(root, {}), "--"], identity)
            async with AsyncArker.local(isolation="bubblewrap") as client:
                small = await client.fork("ubuntu")
                for number in range(FILES):
                    await small.sync(f"file-{number}", b"x" * 1000)
                assert (await small.run("ls")).stdout.count(b"\n") == FILES
                yield Bench(client, small, bare)
        finally:
            await provider.close()


def make_root(root: Path, host: Host, identity: Identity | None) -> None:
    """Make a root filesystem like that of VMs."""
    root.mkdir()
    furnish(root, identity, host.points())


async def rounds_of(
    limit: Callable[[], float], ours: Callable[[], Awaitable[float]], *, rounds: int = ROUNDS
) -> Rounds:
    """Alternate the two samples."""

    async def by_hand() -> float:
        return limit()

    return await interleave_async(by_hand, ours, rounds=rounds)


def median_ms(values: Sequence[float]) -> str:
    """Return the median of some seconds, as text in milliseconds."""
    return f"{statistics.median(values) * 1000:.1f} ms"
