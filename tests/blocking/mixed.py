"""Many threads that use one client for everything at once."""

from __future__ import annotations

import gc
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from arker import NotFoundError
from arker.emulator import Emulator
from arker_sync import VM, Arker
from tests.support.waiting import block_until


def use_from_threads(emulator: Emulator, *, threads: int, operations: int, seed: int = 1) -> None:
    """Operations of every kind in random order from many threads; nothing fails, and nothing is left.

    Args:
        emulator: The backend.
        threads: How many threads.
        operations: How many operations in each.
        seed: Where the random numbers begin.
    """
    gc.collect()
    before = {thread.name for thread in threading.enumerate()}
    descriptors = len(os.listdir("/proc/self/fd"))
    with Arker(**emulator.client_options) as ar:
        vms = [ar.fork("ubuntu") for _ in range(8)]
        with ThreadPoolExecutor(threads) as pool:
            names = [f"{seed}-{number}" for number in range(threads)]
            done = list(pool.map(partial(_work, ar, vms, operations), names))
        assert done == [operations] * threads
        for vm in vms:
            vm.delete()
        assert not ar.list_vms()
    gc.collect()
    # A thread that has been told to end, and what another test has left to be closed, may take their time.
    block_until(lambda: {thread.name for thread in threading.enumerate()} <= before)
    block_until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def _work(ar: Arker, vms: list[VM], operations: int, name: str) -> int:
    rng = random.Random(name)
    session = vms[0].create_session()
    for number in range(operations):
        vm, path, text = rng.choice(vms), f"/tmp/{name}", f"{name} {number}\n"
        match rng.randrange(8):
            case 0:
                assert vm.run(["echo", text.strip()]).stdout_text == text
            case 1:
                vm.sync(path, text.encode())
                assert vm.sync(path) == text.encode()
            case 2:
                assert vms[0].run(f"echo {number}", session_id=session.session_id).stdout_text == f"{number}\n"
            case 3:
                with ar.fork(vm) as child:
                    assert child.refresh().state in {"idle", "running"}
            case 4:
                assert len(ar.list_vms(limit=1000)) >= len(vms)
            case 5:
                with pytest.raises(NotFoundError, match=vm.id):
                    vm.get_run("missing")
            case 6:
                data = bytes(5 * 1024 * 1024) if number % 10 == 0 else b"small"
                vm.sync(f"{path}.large", data)
            case _:
                assert [each.session_id for each in vms[0].list_sessions(limit=1000)]
    vms[0].delete_session(session.session_id)
    return operations


__all__ = ["use_from_threads"]
