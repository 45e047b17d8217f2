"""The settings that all runs of a VM share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from arker.emulator.sandbox.bubblewrap.identity import Identity


@frozen(kw_only=True)
class Inside:
    """The settings that all runs of a VM share.

    Attributes:
        env: The environment of a session that sets none.
        bash: The shell's path.
        owner: Who runs execute as on the host; None for the server's own user.
        to_inside: From a path that callers use to the one that the agent sees.
        to_outside: The other way, for working directories.
        reserved: Paths where there can be no volumes.
        restarts: Whether a VM has to be restarted to get a volume.
    """

    env: Mapping[str, str]
    bash: str
    owner: Identity | None = None
    to_inside: Callable[[str], str] = str
    to_outside: Callable[[str], str] = str
    reserved: Sequence[str] = ()
    restarts: bool = True


__all__ = ["Inside"]
