"""Sessions of a VM (contract, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import field, frozen

SessionState: TypeAlias = Literal["idle", "running"]


@frozen(kw_only=True)
class Session:
    """A terminal tab of a VM: it keeps its working directory and environment, and runs one command at a time.

    Attributes:
        session_id: Its id.
        session_idx: Its number in the VM; 0 is the default session.
        state: ``idle`` or ``running``; a state that this version does not know is kept as it came.
        cwd: Its working directory.
        env: Its environment, if the server tells it.
        started_at: When it was opened (RFC 3339, UTC).
    """

    session_id: str
    session_idx: int = 0
    state: SessionState | str
    cwd: str
    env: Mapping[str, str] | None = field(default=None, repr=False)
    started_at: str | None = None
    vm_id: str | None = None
    vm_name: str | None = None
    source_org_id: str | None = None
    region: str | None = None
    provider: str | None = None


__all__ = ["Session", "SessionState"]
