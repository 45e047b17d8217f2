"""Many threads on one blocking client."""

from __future__ import annotations

from arker.emulator import Emulator
from tests.blocking.mixed import use_from_threads
from tests.soak.conftest import Soak


def test_threads_on_one_client(arker_emulator: Emulator, soak: Soak) -> None:
    operations = soak.times(200)
    use_from_threads(arker_emulator, threads=64, operations=operations, seed=soak.rng.randrange(2**32))
    print(f"64 threads, {operations} operations each")
