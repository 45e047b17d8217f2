"""Calls on terminals of sessions, and the frames of their WebSockets (contract of generation 1, section 9)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from attrs import frozen

from arker import models
from arker._protocol import routes
from arker._protocol.address import Address
from arker._protocol.calls.shared import into
from arker._protocol.codec import codec
from arker._protocol.codec.hooks import Misfit
from arker._protocol.queries import Query, checked
from arker._protocol.request import Call, Lack, Request
from arker.errors import InvalidArgumentError

if TYPE_CHECKING:
    from arker._protocol.reader import Reader
    from arker.models import PtyTicketResponse

MOST: Final = 1000
"""The largest number of columns or rows."""
ENDED: Final = 1000
"""The code with which the server closes the connection when the program has ended."""
LOST: Final = frozenset((1001, 1005, 1006, 1011, 1012, 1013, 1014))
"""Codes of connections that end although the terminal may go on."""
LACK: Final = Lack(
    "0.5",
    "terminals",
    "run commands with vm.run(), and vm.start(stdin=True) for those that read input while they run",
)

PING: Final = '{"type":"ping"}'
KILL: Final = '{"type":"kill"}'

_EXIT_CODE: Final = re.compile(r"exit_code=(\d{1,3})")


def resizing(cols: int, rows: int) -> str:
    """Return the frame that changes the terminal's size."""
    return codec.dumps({"type": "resize", "cols": cols, "rows": rows}).decode()


def exit_code_in(reason: str) -> int | None:
    """Return the exit code in the reason of a closed connection; None if the server does not tell it."""
    found = _EXIT_CODE.fullmatch(reason)
    return None if found is None else int(found[1])


def check_size(name: str, value: object) -> int:
    """Check a number of columns or rows."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise InvalidArgumentError(name, value, f"expected an integer from 1 to {MOST}")
    return value


@frozen(kw_only=True)
class AttachQuery(Query):
    """The query of a terminal's WebSocket."""

    cols: int | None = checked(check_size)
    rows: int | None = checked(check_size)
    command: str | None = checked(lambda _, value: value)
    persist: bool | None = checked(lambda _, value: value)
    cancel_ttl_secs: int | None = checked(lambda _, value: value)


def create_ticket(at: Address, session_id: str, operation: str = "vm.create_pty_ticket") -> Call[PtyTicketResponse]:
    """Make the call for a ticket. It changes nothing, so it may be repeated."""
    return Call(
        operation,
        Request("POST", at.base_url, routes.pty_ticket(at.vm_id, session_id), body=codec.dumps({})),
        into(models.PtyTicketResponse),
        evidence=("ticket",),
        changes_something=False,
        vm_id=at.vm_id,
        lack=LACK,
    )


def attach(at: Address, session_id: str, query: AttachQuery) -> Call[Any]:
    """Make the call that opens the WebSocket. A reply to it can only be a refusal."""
    request = Request("GET", at.base_url, routes.pty(at.vm_id, session_id), query.encoded())
    return Call("vm.terminal", request, _no_socket, changes_something=False, vm_id=at.vm_id)


def _no_socket(payload: dict[str, Any], reader: Reader) -> NoReturn:
    raise Misfit("is no answer to the handshake of a WebSocket", "$")


__all__ = [
    "ENDED",
    "KILL",
    "LACK",
    "LOST",
    "MOST",
    "PING",
    "AttachQuery",
    "attach",
    "check_size",
    "create_ticket",
    "exit_code_in",
    "resizing",
]
