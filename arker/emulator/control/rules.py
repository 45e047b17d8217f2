"""What a fault is: which requests it is for, when it fires, and what then happens. Data classes only, shared by both
ends.

There is a class for each action; `rule_json` and `rule_from_json` are a rule's form on the wire, a flat JSON object
with the action's name as ``action``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Literal, TypeAlias, cast, get_args

import attrs
from attrs import field, frozen

from arker.emulator.control import _checks as check
from arker.errors import InvalidArgumentError

OperationName: TypeAlias = Literal[
    "run",
    "list_runs",
    "get_run",
    "cancel_run",
    "sync",
    "get_vm",
    "delete_vm",
    "fork",
    "list_vms",
    "resize",
    "list_sessions",
    "create_session",
    "get_session",
    "delete_session",
    "list_tunnels",
    "create_tunnel",
    "get_tunnel",
    "delete_tunnel",
    "list_syncs",
    "create_sync",
    "delete_sync",
    "list_filesystems",
    "create_filesystem",
    "get_filesystem",
    "delete_filesystem",
    "list_org_runs",
    "health",
    "list_regions",
    "whoami",
    "update_vm",
    "get_policies",
    "put_policies",
    "update_session",
    "create_pty_ticket",
    "attach_pty",
    "list_mounts",
    "create_mount",
    "delete_mount",
    "list_pools",
    "create_pool",
    "get_pool",
    "update_pool",
    "delete_pool",
    "list_pool_workers",
    "list_api_keys",
    "create_api_key",
    "revoke_api_key",
    "openapi",
    "presigned_put",
    "presigned_get",
]
"""The operations of the OpenAPI document, the document itself, and the two of presigned URLs."""

SAME_OPERATIONS: Final[Mapping[str, str]] = {
    "update_vm": "resize",
    "list_mounts": "list_syncs",
    "create_mount": "create_sync",
    "delete_mount": "delete_sync",
}
"""Operations of generation 1 that do what one of generation 0.5 does: a rule for either is one for both."""

_Presigned: TypeAlias = Literal["presigned_put", "presigned_get"]
Operations: TypeAlias = OperationName | Iterable[OperationName]
PresignedOperations: TypeAlias = _Presigned | Iterable[_Presigned]
Moment: TypeAlias = Literal["before", "during", "after"]

OPERATION_NAMES: Final[tuple[str, ...]] = get_args(OperationName)
PRESIGNED: Final = ("presigned_put", "presigned_get")
SOCKETS: Final = ("attach_pty",)
"""Operations whose reply is the handshake of a WebSocket."""
GARBAGE: Final = (
    "<!DOCTYPE html>\n<html><head><title>Error</title></head><body><p>Something is wrong</p></body></html>\n"
)

_MOMENTS: Final[tuple[str, ...]] = get_args(Moment)


def _operations(value: Any) -> tuple[Any, ...]:
    """Convert one name or several. Any other value is left for the validator."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    try:
        return tuple(value)
    except TypeError:
        return (value,)


def _check_operations(_: Any, attribute: check.Attribute, value: tuple[object, ...]) -> None:
    if not all(name in OPERATION_NAMES for name in value):
        expected = f"expected the name of an operation, or several: {', '.join(OPERATION_NAMES)}"
        raise InvalidArgumentError(attribute.name, value, expected)


def _check_presigned(_: Any, attribute: check.Attribute, value: tuple[str, ...]) -> None:
    if not set(value) <= set(PRESIGNED):
        raise InvalidArgumentError(attribute.name, value, f"expected one of {', '.join(PRESIGNED)}, or both")


def _moment(_: Any, attribute: check.Attribute, value: object) -> None:
    if value not in _MOMENTS:
        raise InvalidArgumentError(attribute.name, value, f"expected one of {', '.join(_MOMENTS)}")


# One that began with the base URL's own path would be that of no request.
_PATH = check.matching(
    r"(?!/api(/|$))/[!-~]{0,999}", "a path below the base URL, without its /api, such as /v1/vms/*/runs"
)


@frozen(kw_only=True)
class Rule:
    """The conditions of a fault: which requests it is for, and when it fires. Every given condition has to hold.

    Attributes:
        operation: Names of operations; an empty value is any.
        method: HTTP method.
        path: The path below the base URL as it was sent, as a pattern: ``*`` stands for any characters but ``/``,
            ``**`` for any, ``?`` for one.
        times: How many of the next matching requests it fires for; None is no limit.
        share: Instead of ``times``: the probability that it fires for a matching request.
        seed: The seed of the draws for ``share``: the same seed gives the same draws.
        skip: How many matching requests it skips first.
    """

    action: ClassVar[str] = ""
    presigned_only: ClassVar[bool] = False

    operation: tuple[str, ...] = field(default=(), converter=_operations, validator=_check_operations)
    method: str | None = field(default=None, validator=check.matching(r"[A-Z]{1,16}", "an HTTP method, such as POST"))
    path: str | None = field(default=None, validator=_PATH)
    times: int | None = field(default=1, validator=check.integer(1))
    share: float | None = field(default=None, validator=check.share)
    seed: int | None = field(default=None, validator=check.integer(0))
    skip: int = field(default=0, validator=check.integer(0, optional=False))

    def __attrs_post_init__(self) -> None:
        if self.share is not None and self.times not in (None, 1):
            raise InvalidArgumentError("times", self.times, "expected either times or share")
        if self.seed is not None and self.share is None:
            raise InvalidArgumentError("seed", self.seed, "expected only together with share")

    @property
    def limit(self) -> int | None:
        """The maximum number of times that the fault fires."""
        return self.times if self.share is None else None


@frozen(kw_only=True)
class ErrorRule(Rule):
    """An error instead of the reply.

    Attributes:
        status: HTTP status.
        code: The error's code; None is the default code of the status (contract, section 3).
        message: The error's message; None is a default text which says that a fault was set.
        retry_after: The header ``Retry-After``: seconds, or a date as HTTP writes it.
        processed: Whether the request is carried out first.
    """

    action: ClassVar[str] = "error"

    status: int = field(default=503, validator=check.integer(200, 599, optional=False))
    code: str | None = field(
        default=None, validator=check.matching(r"[!-~]{1,100}", "1 to 100 visible ASCII characters")
    )
    message: str | None = field(
        default=None, validator=check.matching(r"[^\ud800-\udfff]{1,4096}", "1 to 4096 characters")
    )
    retry_after: float | str | None = field(default=None, validator=check.retry_after)
    processed: bool = field(default=False, validator=check.boolean)


@frozen(kw_only=True)
class DelayRule(Rule):
    """A delay.

    Attributes:
        seconds: How long.
        processed: Whether the reply is delayed; otherwise the request is delayed before it is carried out.
    """

    action: ClassVar[str] = "delay"

    seconds: float = field(validator=check.seconds)
    processed: bool = field(default=False, validator=check.boolean)


@frozen(kw_only=True)
class GarbageRule(Rule):
    """A reply whose body is not JSON.

    Attributes:
        body: What is sent instead.
        status: HTTP status; None is the reply's own.
        processed: Whether the request is carried out first.
    """

    action: ClassVar[str] = "garbage"

    body: str = field(default=GARBAGE, validator=check.body, repr=False)
    status: int | None = field(default=None, validator=check.integer(200, 599))
    processed: bool = field(default=True, validator=check.boolean)


@frozen(kw_only=True)
class CloseRule(Rule):
    """An end of the connection without a reply.

    Attributes:
        moment: ``before`` the request is carried out, and it never is; ``during`` its work, which continues;
            ``after`` it.
        seconds: For ``during``: how long after the start of the work; at its end, if that comes first.
        reset: Whether it ends with a reset (RST) rather than an ordinary end (FIN).
    """

    action: ClassVar[str] = "close"

    moment: Moment = field(default="before", validator=_moment)
    seconds: float = field(default=0.0, validator=check.seconds)
    reset: bool = field(default=False, validator=check.boolean)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.seconds and self.moment != "during":
            raise InvalidArgumentError("seconds", self.seconds, "expected only with the moment during")


@frozen(kw_only=True)
class TruncateRule(Rule):
    """An end of the connection in the middle of the reply's body, or of a presigned PUT's body.

    Attributes:
        fraction: How much of the body is sent. The reply's ``Content-Length`` is that of the whole body.
    """

    action: ClassVar[str] = "truncate"

    fraction: float = field(default=0.5, validator=check.fraction)


@frozen(kw_only=True)
class StallRule(Rule):
    """A connection that stays open without a reply.

    Attributes:
        processed: Whether the request is carried out first.
    """

    action: ClassVar[str] = "stall"

    processed: bool = field(default=False, validator=check.boolean)


@frozen(kw_only=True)
class ExpireRule(Rule):
    """An answer to a presigned URL as if it had expired."""

    action: ClassVar[str] = "expire"
    presigned_only: ClassVar[bool] = True

    operation: tuple[str, ...] = field(
        default=(), converter=_operations, validator=[_check_operations, _check_presigned]
    )


@frozen(kw_only=True)
class ThrottleRule(Rule):
    """A limit on the transfer rate of a presigned URL.

    Attributes:
        bytes_per_second: For each connection, in both directions.
    """

    action: ClassVar[str] = "throttle"
    presigned_only: ClassVar[bool] = True

    operation: tuple[str, ...] = field(
        default=(), converter=_operations, validator=[_check_operations, _check_presigned]
    )
    bytes_per_second: float = field(validator=check.rate)


RULES: Final[Mapping[str, type[Rule]]] = {
    cls.action: cls
    for cls in (ErrorRule, DelayRule, GarbageRule, CloseRule, TruncateRule, StallRule, ExpireRule, ThrottleRule)
}
"""The class of each action."""


def rule_json(rule: Rule) -> dict[str, Any]:
    """Return the rule as JSON values. Unset members are left out, except ``times``, where null means "without end"."""
    body: dict[str, Any] = {"action": rule.action}
    for name, value in attrs.asdict(rule, recurse=False).items():
        if name == "times":
            if rule.share is None:
                body[name] = value
        elif name == "operation":
            if value:
                body[name] = list(value)
        elif value is not None:
            body[name] = value
    return body


def rule_from_json(members: Mapping[str, Any]) -> Rule:
    """Return the rule that a JSON object describes.

    Raises:
        InvalidArgumentError: A member is missing, unknown to the action, or invalid.
    """
    action = members.get("action")
    cls = RULES.get(action) if isinstance(action, str) else None
    if cls is None:
        raise InvalidArgumentError("action", action, f"expected one of {', '.join(RULES)}")
    known = attrs.fields_dict(cls)
    for name, value in members.items():
        if name != "action" and name not in known:
            raise InvalidArgumentError(name, value, f"unknown field; {action} takes {', '.join(known)}")
    for name, attribute in known.items():
        if attribute.default is attrs.NOTHING and members.get(name) is None:
            raise InvalidArgumentError(name, None, f"{action} needs it")
    if members.get("times") is not None and members.get("share") is not None:
        raise InvalidArgumentError("times", members["times"], "expected either times or share")
    given = {name: value for name, value in members.items() if value is not None or name == "times"}
    del given["action"]
    return cast("Callable[..., Rule]", cls)(**given)


__all__ = [
    "GARBAGE",
    "OPERATION_NAMES",
    "PRESIGNED",
    "RULES",
    "SAME_OPERATIONS",
    "CloseRule",
    "DelayRule",
    "ErrorRule",
    "ExpireRule",
    "GarbageRule",
    "Moment",
    "OperationName",
    "Operations",
    "PresignedOperations",
    "Rule",
    "StallRule",
    "ThrottleRule",
    "TruncateRule",
    "rule_from_json",
    "rule_json",
]
