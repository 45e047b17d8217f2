"""The quickstart for blocking code: fork a VM, run Python in it, move files, fork it again, fan out.

With an API key in ``ARKER_API_KEY`` (and a region in ``ARKER_REGION``) this runs in the cloud; without one, on the
embedded backend, which needs no account and no network.

    python examples/quickstart_sync.py
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from arker_sync import VM, Arker, ArkerError, NotFoundError

FAN_OUT = 8


def square(ar: Arker, source: VM, number: int) -> int:
    """Compute a square in a temporary VM."""
    with ar.fork(source) as vm:
        return int(vm.run(["python3", "-c", f"print({number} ** 2)"], check=True).stdout_text)


def main() -> None:
    if os.environ.get("ARKER_API_KEY") or os.environ.get("AUTH_KEY"):
        client = Arker()
        print(f"Arker at {client.base_url}\n")
    else:
        client = Arker.local()
        print(f"The embedded backend at {client.base_url} (set ARKER_API_KEY to use the cloud)\n")

    with client as ar:
        with ar.fork("ubuntu") as vm:  # deletes the VM at the end, whatever happens
            program = "import platform; print(platform.system(), 6 * 7)"
            print("run Python in a VM:    ", vm.run(["python3", "-c", program], check=True).stdout_text.strip())

            vm.sync("/tmp/in.txt", b"hello")
            vm.run("tr a-z A-Z < /tmp/in.txt > /tmp/out.txt", check=True)
            print("write and read a file: ", vm.sync("/tmp/out.txt").decode())

            with vm.fork() as child:
                child.sync("/tmp/out.txt", b"changed")
                ours, theirs = (each.sync("/tmp/out.txt").decode() for each in (vm, child))
                print("fork it and change it: ", f"parent {ours!r}, child {theirs!r}")

            with ThreadPoolExecutor(FAN_OUT) as pool:
                squares = pool.map(partial(square, ar, vm), range(FAN_OUT))
                print(f"fan out over {FAN_OUT} VMs:   ", " ".join(map(str, squares)))

        try:
            vm.refresh()
        except NotFoundError:
            print("clean up:               nothing left")


if __name__ == "__main__":
    try:
        main()
    except ArkerError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
