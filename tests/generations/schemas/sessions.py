"""Sessions and their terminals."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import (
    BOOLEAN,
    COUNT,
    DELETED,
    MAYBE_BOOLEAN,
    MAYBE_TEXT,
    TEXT,
    Schemas,
    closed,
    integer,
    mapping,
    one_of,
    or_null,
    page,
    ref,
)

_CELLS: Final = integer(1, 1000)

SESSIONS: Final[Schemas] = {
    "SessionState": one_of("idle", "pending", "running"),
    "Session": closed(
        {
            "session_id*": TEXT,
            "session_idx": COUNT,
            "state*": ref("SessionState"),
            "cwd*": TEXT,
            "env": or_null(mapping(TEXT)),
            "started_at": MAYBE_TEXT,
            "vm_id": MAYBE_TEXT,
            "vm_name": MAYBE_TEXT,
            "source_org_id": MAYBE_TEXT,
            "region": MAYBE_TEXT,
            "provider": or_null(ref("Provider")),
        }
    ),
    "ListSessionsResponse": page("sessions", "Session"),
    "CreateSessionRequest": closed(
        {
            "env": or_null(mapping(TEXT)),
            "cwd": MAYBE_TEXT,
            "pty": MAYBE_BOOLEAN,
            "cols": or_null(_CELLS),
            "rows": or_null(_CELLS),
            "command": MAYBE_TEXT,
        }
    ),
    "PatchSessionRequest": closed({"cols": _CELLS, "rows": _CELLS, "timeout_secs": COUNT}),
    "PatchSessionResponse": closed({"ok*": BOOLEAN, "session_id*": TEXT}),
    "DeleteSessionResponse": DELETED,
    "PtyTicketRequest": closed({}),
    "PtyTicketResponse": closed({"ticket*": TEXT, "expires_in*": COUNT}),
}
