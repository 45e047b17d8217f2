"""The embedded backend: a server of the wire contract in a process of its own, on this machine.

    from arker.emulator import Emulator

    with Emulator() as emulator:
        print(emulator.url)

``python -m arker.emulator`` runs one by itself. The server executes commands, so it answers on 127.0.0.1 only and asks
for a random token; how far VMs are isolated stands in `EmulatorOptions.isolation`.
"""

from __future__ import annotations

from arker.emulator._process import Emulator
from arker.emulator.control.channel import Control
from arker.emulator.control.fault import Fault
from arker.emulator.options import EmulatorOptions

__all__ = ["Control", "Emulator", "EmulatorOptions", "Fault"]
