"""What the embedded backend is made of on this machine, part by part; for people who wonder why it does not work."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Literal, TypeAlias

from attrs import frozen

from arker.emulator._process import Emulator
from arker.emulator._start import server_command
from arker.emulator._state import StateDir
from arker.emulator.sandbox.base import IsolationUnavailableError, SandboxError
from arker.errors import EmulatorError

Verdict: TypeAlias = Literal["ok", "less", "no"]


@frozen
class Finding:
    """What was found about one part.

    Attributes:
        part: The part.
        verdict: ``ok``; ``less``: the backend works, with less than it could have; ``no``: it does not work.
        words: What was found, and what to do.
    """

    part: str
    verdict: Verdict
    words: str


async def examine() -> list[Finding]:
    """Look at each part, and start a backend."""
    found = [_system(), _python(), _proxies()]
    if any(each.verdict == "no" for each in found):
        return found
    isolation = await _isolation()
    found += isolation
    if any(each.verdict == "no" for each in isolation):
        return found
    return [*found, await _start()]


def _system() -> Finding:
    if sys.platform == "linux":
        return Finding("system", "ok", f"Linux {os.uname().release}")
    return Finding("system", "no", f"{sys.platform}: VMs take Linux; use a Linux VM, a container or WSL2")


def _python() -> Finding:
    try:
        return Finding("Python", "ok", server_command()[0])
    except EmulatorError as error:
        return Finding("Python", "no", error.message)


def _proxies() -> Finding:
    if find_spec("h11") is not None:
        return Finding("h11", "ok", "tunnels, and VMs' way out to the network")
    advice = 'no tunnels, and no way out for VMs: pip install "arker-async[emulator]"'
    return Finding("h11", "less", advice)


async def _isolation() -> list[Finding]:
    # Loaded late, since other systems do not have what it imports.
    from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider

    try:
        state = StateDir(None)
    except OSError as error:
        return [Finding("state directory", "no", str(error))]
    try:
        try:
            provider = await BubblewrapProvider.open(state.path)
        except (IsolationUnavailableError, SandboxError, OSError) as error:
            return [Finding("isolation", "no", str(error))]
        try:
            reason = await provider.why_no_layers()
            found = [
                Finding("state directory", "ok", str(state.path.parent)),
                Finding("isolation", "ok", f"user namespaces, with {provider.bwrap}"),
            ]
            if reason is None:
                found.append(Finding("overlays", "ok", "forks share files"))
            else:
                found.append(Finding("overlays", "less", f"forks copy files instead of sharing them: {reason}"))
            return found
        finally:
            await provider.close()
    finally:
        state.remove()


async def _start() -> Finding:
    emulator = Emulator()
    try:
        async with emulator:
            return Finding("start", "ok", "a backend has started and ended")
    except EmulatorError as error:
        return Finding("start", "no", error.message)


__all__ = ["Finding", "Verdict", "examine"]
