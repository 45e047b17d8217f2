"""Fork a VM, run Python in it, move files, fork it again, fan out.

With an API key in ``ARKER_API_KEY`` (and a region in ``ARKER_REGION``) this runs in the cloud; without one, on the
embedded backend, which needs no account and no network.

    python examples/quickstart.py
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from arker import ArkerError, AsyncArker, AsyncVM, NotFoundError

FAN_OUT = 8
BIG = 32 * 1024 * 1024


@contextmanager
def step(title: str) -> Generator[list[str], None, None]:
    """Print a step's result and its duration."""
    findings: list[str] = []
    started = time.perf_counter()
    yield findings
    took = (time.perf_counter() - started) * 1000
    print(f"{took:9.1f} ms  {title:<34} {'; '.join(findings)}")


async def square(ar: AsyncArker, source: AsyncVM, number: int) -> int:
    """Compute a square in a temporary VM."""
    async with ar.fork(source) as vm:
        result = await vm.run(["python3", "-c", f"print({number} ** 2)"], check=True)
        return int(result.stdout_text)


async def exists(vm: AsyncVM) -> bool:
    try:
        await vm.refresh()
    except NotFoundError:
        return False
    return True


async def main() -> None:
    if os.environ.get("ARKER_API_KEY") or os.environ.get("AUTH_KEY"):
        client = AsyncArker()
        print(f"Arker at {client.base_url}\n")
    else:
        client = AsyncArker.local()
        print(f"The embedded backend at {client.base_url} (set ARKER_API_KEY to use the cloud)\n")

    async with client as ar:
        with step("fork ubuntu") as found:
            vm = await ar.fork("ubuntu")
            found.append(f"VM {vm.id}")

        async with vm:  # deletes the VM at the end, whatever happens
            with step("run Python in it") as found:
                program = "import sys, platform; print(platform.system(), sys.version.split()[0], 6 * 7)"
                result = await vm.run(["python3", "-c", program], check=True)
                found.append(result.stdout_text.strip())

            with step("write a file and read it") as found:
                await vm.sync("/tmp/in.txt", b"hello")
                await vm.run("tr a-z A-Z < /tmp/in.txt > /tmp/out.txt", check=True)
                found.append((await vm.sync("/tmp/out.txt")).decode())

            with step("fork the VM") as found:
                child = await ar.fork(vm)
                found.append(f"VM {child.id}")

            async with child:
                with step("read the file in the child") as found:
                    found.append(f"the child has {(await child.sync('/tmp/out.txt')).decode()!r}")
                with step("change the child only") as found:
                    await child.sync("/tmp/out.txt", b"changed")
                    ours, theirs = await asyncio.gather(vm.sync("/tmp/out.txt"), child.sync("/tmp/out.txt"))
                    found.append(f"parent {ours.decode()!r}, child {theirs.decode()!r}")

            data = os.urandom(1024) * (BIG // 1024)
            with step(f"write {BIG // 2**20} MiB") as found:
                await vm.sync("/tmp/big.bin", data)
                size = await vm.run("wc -c < /tmp/big.bin", check=True)
                found.append(f"{int(size.stdout_text):,} bytes are there")
            with step(f"read {BIG // 2**20} MiB") as found:
                found.append("the same bytes" if await vm.sync("/tmp/big.bin") == data else "DIFFERENT BYTES")
            await vm.run("rm /tmp/big.bin", check=True)

            with step(f"fan out over {FAN_OUT} VMs at once") as found:
                squares = await asyncio.gather(*(square(ar, vm, number) for number in range(FAN_OUT)))
                found.append(" ".join(map(str, squares)))

        with step("clean up") as found:
            left = [gone.id for gone in (vm, child) if await exists(gone)]
            found.append("nothing left" if not left else f"LEFT: {left}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ArkerError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
