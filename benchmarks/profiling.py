"""Draw where the time goes: ``python -m benchmarks.profiling [--suffix NAME] [--source DIRECTORY] [PROFILE …]``.

Each profile is a flame graph by py-spy (extra ``bench``), written to ``profiles/PROFILE-SUFFIX.svg``. With ``--source``
the client and the backend are those of another working tree, such as one of an earlier commit:

    git worktree add ../earlier COMMIT
    python -m benchmarks.profiling --source ../earlier --suffix before
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from benchmarks.flames import drawn, read

ROOT: Final = Path(__file__).parent.parent
PROFILES: Final = ROOT / "benchmarks" / "profiles"

_BOOT: Final = """
import sys
sys.path.insert(0, sys.argv[1])
import benchmarks
sys.path.insert(0, sys.argv[2])
from benchmarks.profiling import work
work(*sys.argv[3:])
"""
"""Takes the benchmarks from here, whatever the working tree that is profiled has of them."""

_DONE: Final = "the work is done"
_ENDING: Final = 10.0
"""Seconds that py-spy gets to notice the end of what it samples."""

_DEEP: Final = """
def dive(depth):
    while not depth:
        pass
    dive(depth - 1)
dive({depth})
"""
"""A program whose flame graph is as high as another one."""

_CALLS: Final = 10_000
_VMS: Final = 500
_ROUNDS: Final = 6
_FIRST_RUNS: Final = 40
_PAUSE: Final = 0.3
"""Seconds in which a spare sandbox gets ready, see the row ``vmwarm``."""


async def _call(base_url: str) -> None:
    from arker import AsyncArker  # the source that is profiled
    from benchmarks import server  # in the profiles that use it only

    async with AsyncArker(server.API_KEY, base_url=base_url) as client:
        vm = client.vm(server.VM_ID)
        for _ in range(_CALLS):
            assert (await vm.run("echo hi")).exit_code == 0


async def _fanout(base_url: str) -> None:
    from arker import AsyncArker
    from benchmarks import server

    for _ in range(_ROUNDS):
        async with AsyncArker(server.API_KEY, base_url=f"{base_url}/late/100") as client:

            async def one(client: AsyncArker = client) -> None:
                vm = await client.fork("ubuntu")
                assert (await vm.run("echo hi")).exit_code == 0
                await vm.delete()

            await asyncio.gather(*(one() for _ in range(_VMS)))


async def _first_run(base_url: str) -> None:
    del base_url  # the embedded backend is asked
    from arker import AsyncArker

    async with AsyncArker.local(isolation="bubblewrap") as client:
        for _round in range(_FIRST_RUNS):
            vm = await client.fork("ubuntu")
            await asyncio.sleep(_PAUSE)
            assert (await vm.run("true")).exit_code == 0
            await vm.delete()


@frozen
class Profile:
    """A profile.

    Attributes:
        title: What is done.
        work: What does it; it gets the base URL of the loopback server.
        rate: Samples per second.
        options: Further options of py-spy.
    """

    title: str
    work: Callable[[str], Coroutine[Any, Any, None]]
    rate: int = 200
    options: tuple[str, ...] = ()


# py-spy finds a new process too late to see the start of an agent, and takes agents that wait for active ones: with
# ``--gil`` only what holds the interpreter's lock is sampled.
ALL: Final[dict[str, Profile]] = {
    "call": Profile("one small call after another", _call),
    "fanout100": Profile(f"{_VMS} VMs at once, server 100 ms late, from a cold client", _fanout),
    "firstrun": Profile(
        "forks and first runs of VMs: client and backend", _first_run, 400, ("--subprocesses", "--gil")
    ),
}
"""The profiles by their names."""


def work(name: str, base_url: str) -> None:
    """Do what is profiled, in the process that py-spy has started."""
    asyncio.run(ALL[name].work(base_url))
    print(_DONE, flush=True)


def record(name: str, base_url: str, source: Path, target: Path, *, title: str) -> None:
    """Record a profile, and write its flame graph."""
    profile = ALL[name]
    with tempfile.TemporaryDirectory() as place:
        samples, canvas = Path(place, "samples"), Path(place, "canvas.svg")
        options = ["--rate", str(profile.rate), "--format", "raw", "--output", str(samples), *profile.options]
        spying = subprocess.Popen(
            [_spy(), "record", *options, "--", sys.executable, "-c", _BOOT, str(ROOT), str(source), name, base_url],
            cwd=place,
            # The backend is a process of its own, which has to find the same source.
            env={**os.environ, "PYTHONPATH": str(source), "ARKER_LEDGER": os.path.join(place, "ledger.sqlite3")},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert spying.stdout is not None
        with spying:
            done = any(line == _DONE + "\n" for line in spying.stdout)
            try:
                spying.wait(_ENDING)
            except subprocess.TimeoutExpired:
                # It waits for a process that has got the number of one that has ended.
                spying.send_signal(signal.SIGINT)
        if spying.returncode or not done:
            raise SystemExit(f"{name}: the work did not end, or py-spy failed ({spying.returncode})")
        root = read(samples.read_text(), kind_of)
        deep = _DEEP.format(depth=root.depth)
        drawing = ["--duration", "3", "--rate", "20", "--output", str(canvas)]
        subprocess.run([_spy(), "record", *drawing, "--", sys.executable, "-c", deep], check=True, capture_output=True)
        target.write_text(drawn(root, f"{profile.title} ({title})", canvas.read_text()))
    print(target)


def _spy() -> str:
    spy = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if spy is None:
        raise SystemExit('py-spy is not installed: pip install -e ".[bench]"')
    return spy


def kind_of(command: str) -> str:
    """Return the name that a process is drawn by, of its command line."""
    if "from benchmarks.profiling import work" in command:
        return "the client"
    return "the backend" if command.endswith("--managed") else "processes of VMs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the profiles that are named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description="Draw where the time goes.")
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help=f"which, of {', '.join(ALL)}; all unless named")
    parser.add_argument("--suffix", default="after", help="the end of the files' names (default: %(default)s)")
    parser.add_argument("--source", type=Path, default=ROOT, metavar="DIRECTORY", help="another working tree")
    parser.add_argument("--into", type=Path, default=PROFILES, metavar="DIRECTORY", help="where to write the drawings")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.profiles if name not in ALL]
    if unknown:
        parser.error(f"no such profile: {', '.join(unknown)}; there are {', '.join(ALL)}")
    if not (given.source / "arker" / "__init__.py").is_file():
        parser.error(f"--source: {given.source} has no package arker")
    from benchmarks import server

    with server.running() as (base_url, _):
        for name in given.profiles or ALL:
            target = given.into / f"{name}-{given.suffix}.svg"
            record(name, base_url, given.source.resolve(), target, title=given.suffix)


if __name__ == "__main__":
    main()
