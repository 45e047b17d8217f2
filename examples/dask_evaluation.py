"""Evaluate candidate programs on a Dask cluster: many machines, each with a client and its share of the VMs.

Each worker of the cluster holds one client and one prepared VM; each candidate is tested in a fork of it. Candidates
are read from the files of a VM by ``arker://``, and the results are written there. Results and errors come back from
the workers by pickle. A worker that dies costs its candidates a retry on another one; its VMs are in the ledger, and
``reap`` deletes them.

With an API key in ``ARKER_API_KEY`` this runs in the cloud; without one, on an embedded backend that all workers share.
Here the workers are processes of this machine. On a cluster of machines, give `distributed.Client` the address of its
scheduler, set the key in the workers' environment, and run ``python -m arker reap`` where a worker has died.

    python -m pip install ".[emulator,fsspec]" distributed
    python examples/dask_evaluation.py --vms 200 --workers 2 --kill
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
from attrs import frozen
from dask import bag
from distributed import Client, Future, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker

import arker_sync
from arker import AsyncArker, AsyncVM, RunFailedError
from arker.emulator import Emulator

APPROACHES = {
    "by text": "print(sum(map(int, str(2 ** n))))",
    "off by one": "print(sum(map(int, str(2 ** n))) + 1)",
    "without an end": "import time; time.sleep(3600)",
    "crashes": "raise SystemExit(f'{n}: too large')",
}


@frozen
class Verdict:
    """The result of a candidate, as it comes back from a worker."""

    number: int
    approach: str
    passed: bool


class VMs(WorkerPlugin):
    """What a worker holds: a client, and a VM that is prepared for all candidates."""

    name = "vms"

    async def setup(self, worker: Worker) -> None:
        """Make both when the worker starts; after its death, in the process that takes its place."""
        self.client = await AsyncArker().__aenter__()
        self.prepared = await self.client.fork("ubuntu")
        await self.prepared.sync("harness.py", b"import sys\nn = int(sys.argv[1])\nexec(open('candidate.py').read())\n")

    async def teardown(self, worker: Worker) -> None:
        """Delete the VM, and close the client."""
        await self.prepared.delete()
        await self.client.aclose()


async def evaluate(candidate: dict[str, Any], *, time_limit: float) -> Verdict:
    """Test a candidate in a VM of its own. It runs on the worker's event loop, beside the others of its share."""
    vms: Any = get_worker().plugins["vms"]
    vm: AsyncVM
    async with vms.prepared.fork() as vm:
        await vm.sync("candidate.py", candidate["source"].encode())
        result = await vm.run(["python3", "harness.py", "100"], timeout=time_limit, check=True)
    passed = int(result.stdout) == sum(map(int, str(2**100)))
    return Verdict(candidate["number"], candidate["approach"], passed)


def candidates(count: int) -> Iterator[str]:
    """Generate candidates, each a line of JSON."""
    approaches = list(APPROACHES.items())
    for number in range(count):
        approach, source = approaches[number % len(approaches)]
        yield json.dumps({"number": number, "approach": approach, "source": source}) + "\n"


def save(url: str, text: str) -> None:
    """Write a file, on a worker."""
    with fsspec.open(url, "w") as file:
        file.write(text)


def outcome(future: Future[Any]) -> str:
    """Return what became of a candidate. An error of its command is the worker's own, with the command's output."""
    error = future.exception()
    if error is None:
        return "passed" if future.result().passed else "wrong"
    if isinstance(error, RunFailedError):
        return "crashed" if error.result.state == "completed" else "out of time"
    raise error


def collect(cluster: LocalCluster, futures: list[Future[Any]], *, kill: bool) -> list[str]:
    """Wait for all candidates, and return what became of each. In the middle a worker may be killed."""
    victim = next(iter(cluster.workers.values())).pid if kill else None
    for done, _ in enumerate(as_completed(futures)):
        if victim is not None and done == len(futures) // 4:
            os.kill(victim, signal.SIGKILL)
            victim = None
    return [outcome(future) for future in futures]


@contextmanager
def backend() -> Generator[None, None, None]:
    """Let the environment lead all processes to one backend: the cloud's, or else an embedded one."""
    if os.environ.get("ARKER_API_KEY"):
        yield
        return
    with Emulator() as emulator, TemporaryDirectory() as directory:
        os.environ["ARKER_LEDGER"] = f"{directory}/ledger.sqlite3"  # a backend on this machine has none by default
        os.environ["ARKER_API_KEY"] = emulator.api_key
        os.environ["ARKER_BASE_URL"] = os.environ["ARKER_CONTROL_BASE_URL"] = emulator.url
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate candidate programs in VMs of a Dask cluster.")
    parser.add_argument(
        "--vms", type=int, default=200, metavar="N", help="how many candidates, each in a VM of its own"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="how many worker processes")
    parser.add_argument("--time-limit", type=float, default=10.0, metavar="SECONDS", help="for each program")
    parser.add_argument("--kill", action="store_true", help="kill a worker in the middle")
    arguments = parser.parse_args()
    share = -(-arguments.vms // arguments.workers)  # so many candidates at once on each worker

    with backend(), arker_sync.Arker() as ar:
        with (
            ar.fork("ubuntu") as data,
            LocalCluster(
                n_workers=arguments.workers,
                threads_per_worker=share,
                dashboard_address="127.0.0.1:0",  # any free port: without an address it takes 8787
                silence_logs=logging.CRITICAL,  # candidates that crash are no errors of the workers
            ) as cluster,
            Client(cluster) as dask_client,
        ):
            dask_client.register_plugin(VMs())
            lines = list(candidates(arguments.vms))
            files = [f"/srv/candidates/{number}.jsonl" for number in range(arguments.workers)]
            for number, path in enumerate(files):
                data.files.write_text(path, "".join(lines[number :: len(files)]), parents=True)
            found = bag.read_text([f"arker://{data.id}{path}" for path in files]).map(json.loads).compute()
            futures = dask_client.map(evaluate, found, time_limit=arguments.time_limit, pure=False)
            outcomes = collect(cluster, futures, kill=arguments.kill)
            results = json.dumps(Counter(outcomes), sort_keys=True)
            dask_client.submit(save, f"arker://{data.id}/srv/results.json", results).result()
            print(f"{len(outcomes)} candidates:", data.run("cat /srv/results.json").stdout_text)
        print(f"VMs of a worker that was killed, deleted by reap: {len(ar.reap().deleted)}")


if __name__ == "__main__":
    main()
