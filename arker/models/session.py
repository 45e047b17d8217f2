"""Sessions of a VM (contract, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._page import Page
from arker.models._reply import Reply, declared

SessionState: TypeAlias = Literal["idle", "pending", "running"]


@frozen(kw_only=True)
class Session(Reply):
    """A terminal tab of a VM: it keeps its working directory and environment, and runs one command at a time.

    Attributes:
        session_id: Its id.
        session_idx: Its number in the VM; 0 is the default session.
        state: ``idle``, ``pending`` or ``running``; a state that this version does not know is kept as it came.
        cwd: Its working directory.
        env: Its environment, if the server tells it.
        started_at: When it was opened (RFC 3339, UTC).
    """

    session_id: str
    session_idx: int = 0
    state: SessionState | str | None = declared()
    cwd: str | None = declared()
    env: Mapping[str, str] | None = field(default=None, repr=False)
    started_at: str | None = None
    vm_id: str | None = None
    vm_name: str | None = None
    source_org_id: str | None = None
    region: str | None = None
    provider: str | None = None


@frozen(kw_only=True)
class ListSessionsResponse(Page[Session], Reply):
    """A page of a VM's sessions, newest first; the list goes on while ``next_cursor`` is set."""

    sessions: tuple[Session, ...]
    next_cursor: str | None = None

    def _items(self) -> tuple[Session, ...]:
        return self.sessions


def _env(value: Mapping[str, str] | None) -> dict[str, str] | None:
    if value is None:
        return None
    if not check.is_mapping(value):
        raise InvalidArgumentError("env", value, "expected a mapping of names to strings")
    checked: dict[str, str] = {}
    for name, content in value.items():
        key = check.check_text("env", name, what="names that are non-empty strings")
        if "=" in key:
            raise InvalidArgumentError("env", name, "expected names without '='")
        if not check.is_string(content):
            # The value is not shown: environments hold secrets.
            raise InvalidArgumentError(f"env[{name!r}]", "(not shown)", "expected a string, without NUL")
        checked[key] = content
    return checked


def _from_home(cwd: str | None) -> str | None:
    return check.from_home("cwd", cwd) if isinstance(cwd, str) else cwd


@frozen(kw_only=True)
class CreateSessionRequest:
    """What `POST /v1/vms/{id}/sessions` takes.

    Attributes:
        env: Variables beside those that every session has.
        cwd: Working directory to start in; the home directory when it is absent, which ``~/`` stands for as well.
    """

    env: Mapping[str, str] | None = field(default=None, converter=_env, repr=False)
    cwd: str | None = field(default=None, converter=_from_home, validator=check.optional(check.text))


@frozen(kw_only=True)
class DeleteSessionResponse(Reply):
    """Whether the session was closed."""

    deleted: bool = declared(True)


__all__ = ["CreateSessionRequest", "DeleteSessionResponse", "ListSessionsResponse", "Session", "SessionState"]
