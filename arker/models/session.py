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
    """A session of a VM: it keeps its working directory and environment, and runs one command at a time.

    Attributes:
        session_id: The session's id.
        session_idx: Its number in the VM; 0 is the default session.
        state: ``idle``, ``pending`` or ``running``; an unknown state is kept unchanged.
        cwd: Its working directory.
        env: Its environment; None if the server does not report it.
        started_at: Time of the creation (RFC 3339, UTC).
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
    """A page of a VM's sessions, newest first. There are more pages while ``next_cursor`` is set."""

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
            # The message does not show the value: environments contain secrets.
            raise InvalidArgumentError(f"env[{name!r}]", "(not shown)", "expected a string, without NUL")
        checked[key] = content
    return checked


def _from_home(cwd: str | None) -> str | None:
    return check.from_home("cwd", cwd) if isinstance(cwd, str) else cwd


@frozen(kw_only=True)
class CreateSessionRequest:
    """The request of `POST /v1/vms/{id}/sessions`.

    Attributes:
        env: Environment variables in addition to those that every session has.
        cwd: Initial working directory; the home directory, also written ``~/``, if absent.
    """

    env: Mapping[str, str] | None = field(default=None, converter=_env, repr=False)
    cwd: str | None = field(default=None, converter=_from_home, validator=check.optional(check.text))


@frozen(kw_only=True)
class DeleteSessionResponse(Reply):
    """The reply to the deletion of a session."""

    deleted: bool = declared(True)


__all__ = ["CreateSessionRequest", "DeleteSessionResponse", "ListSessionsResponse", "Session", "SessionState"]
