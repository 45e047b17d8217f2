"""Policies of generation 1: rules on what a VM's requests may do, and when the VM ends (contract-1, section 7).

They say more than `NetworkPolicy` does, which is the same in both generations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs
from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._fields import (
    HIDDEN,
    check_key,
    choices,
    converted,
    instance,
    lists,
    made,
    ports,
    statuses,
    strings,
    texts,
)

_HIGHEST_PRIORITY: Final = 1_000_000
_MOST_SECONDS: Final = 30 * 24 * 3600

PolicyDirection: TypeAlias = Literal["outbound", "inbound"]
PolicyVia: TypeAlias = Literal["port", "ssh", "pty"]
PolicyConnection: TypeAlias = Literal["new", "open"]
PortRange: TypeAlias = tuple[int, int]
"""The first port and the last one."""


# --- conditions and actions ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class PolicyMatch:
    """A condition on requests. All that is given has to hold; of a list, one is enough.

    Attributes:
        ports: Ports, and ranges of them as ``(first, last)``; in a rule for what comes in, single ports only.
        ips: Addresses and ranges of them (CIDR); not together with ``hosts``.
        hosts: Host names, which stand for all names below them as well; only in a rule for what goes out.
        methods: HTTP methods.
        paths: Beginnings of paths, of whole segments.
        headers: Header fields with their values.
        query_params: Query parameters with their values.
        body_contains: Texts that the body contains.
        vm_state: The VM's state; this and all below only in a rule for what comes in.
        via: Ways into the VM.
        ssh_keys: Ids of the SSH keys, for the way ``ssh``.
        connection_state: ``new`` connections, or those that are ``open`` already.
    """

    ports: Sequence[int | PortRange] | None = converted(ports)
    ips: Sequence[str] | None = converted(texts)
    hosts: Sequence[str] | None = converted(texts)
    methods: Sequence[str] | None = converted(texts)
    paths: Sequence[str] | None = converted(texts)
    headers: Mapping[str, Sequence[str]] | None = converted(lists)
    query_params: Mapping[str, Sequence[str]] | None = converted(lists)
    body_contains: Sequence[str] | None = converted(texts)
    vm_state: Literal["idle", "running"] | None = field(
        default=None, validator=check.optional(check.one_of(("idle", "running")))
    )
    via: Sequence[PolicyVia] | None = converted(choices("port", "ssh", "pty"))
    ssh_keys: Sequence[str] | None = converted(texts)
    connection_state: Sequence[PolicyConnection] | None = converted(choices("new", "open"))

    def __attrs_post_init__(self) -> None:
        if self.ips is not None and self.hosts is not None:
            raise InvalidArgumentError("hosts", self.hosts, "expected either ips or hosts")


@frozen(kw_only=True)
class Rewrite:
    """A change of a request. Texts may have ``$domain``, ``$path``, ``$method``, ``$vm_id``, ``$body``,
    ``${header:NAME}`` and ``${secret:NAME}`` in them.

    Attributes:
        host: The host that the request goes to instead.
        path: The path instead of its own.
        headers: Header fields that are set.
        remove_headers: Header fields that are removed.
        remove_query_params: Query parameters that are removed.
        body: The body instead of its own.
    """

    host: str | None = field(default=None, validator=check.optional(check.text))
    path: str | None = field(default=None, validator=check.optional(check.text))
    headers: Mapping[str, str] | None = converted(strings, repr=False)
    remove_headers: Sequence[str] | None = converted(texts)
    remove_query_params: Sequence[str] | None = converted(texts)
    body: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.body is not None and not check.is_string(self.body):
            raise InvalidArgumentError("body", self.body, "expected a string without NUL")


@frozen(kw_only=True)
class Gate:
    """A question over HTTP that decides on a request.

    Attributes:
        host: Where to ask, with the scheme: ``https://gate.example.com``.
        allow_on_status: The statuses that allow the request.
        path: The path to ask for.
        method: The method; the server's default is ``GET``.
        headers: Header fields to send along.
        body: The body to send along, a JSON value.
        deny_on_timeout: Whether no answer denies the request; the server's default is True.
        timeout_ms: Milliseconds to wait for the answer; the server's default is about 30,000.
    """

    host: str = field(validator=check.text)
    allow_on_status: Sequence[int] = converted(statuses, attrs.NOTHING)
    path: str | None = field(default=None, validator=check.optional(check.text))
    method: str | None = field(default=None, validator=check.optional(check.text))
    headers: Mapping[str, str] | None = converted(strings, repr=False)
    body: Any = None
    deny_on_timeout: bool | None = field(default=None, validator=check.optional(check.boolean))
    timeout_ms: int | None = field(default=None, validator=check.optional(check.integer(0)))

    def __attrs_post_init__(self) -> None:
        if not self.host.startswith(("http://", "https://")):
            raise InvalidArgumentError("host", self.host, "expected a host with its scheme, such as https://a.example")


@frozen(kw_only=True)
class ScaleAction:
    """What becomes of the VM by a rule for what comes in.

    Attributes:
        suspend: Whether it is suspended; the server's default is False.
    """

    suspend: bool | None = field(default=None, validator=check.optional(check.boolean))


@frozen(kw_only=True)
class RequestAction:
    """What is done with a request beside allowing it: at least one of these.

    Attributes:
        rewrite: How it is changed.
        gate: What is asked first.
        suspend: Whether the VM is suspended.
        scaling: What becomes of the VM.
    """

    rewrite: Rewrite | None = converted(instance(Rewrite, "a Rewrite"))
    gate: Gate | None = converted(instance(Gate, "a Gate"))
    suspend: bool | None = field(default=None, validator=check.optional(check.boolean))
    scaling: ScaleAction | None = converted(instance(ScaleAction, "a ScaleAction"))

    def __attrs_post_init__(self) -> None:
        if self.rewrite is None and self.gate is None and self.suspend is None and self.scaling is None:
            raise InvalidArgumentError("rewrite", None, "expected at least one of rewrite, gate, suspend and scaling")


# --- rules -----------------------------------------------------------------------------------------------------------

PolicyAction: TypeAlias = Literal["allow", "deny", "suspend"] | RequestAction


def _action(argument: str, value: object) -> PolicyAction:
    if isinstance(value, str):
        check.check_one_of(argument, value, ("allow", "deny", "suspend"))
        return value  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
    return made(RequestAction, argument, value, "allow, deny, suspend, or a RequestAction")


@frozen
class PolicyToken:
    """A token with which requests have to come (deprecated by the service). A secret, so it is not in the repr."""

    token: str = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if not check.is_string(self.token) or not self.token.strip():
            raise InvalidArgumentError("token", HIDDEN, "expected a non-empty string")


PolicyAuth: TypeAlias = Literal["open", "arker"] | PolicyToken


def _auth(argument: str, value: object) -> PolicyAuth:
    if isinstance(value, str):
        check.check_one_of(argument, value, ("open", "arker"))
        return value  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
    return made(PolicyToken, argument, value, "open, arker, or a PolicyToken", secret=True)


@frozen(kw_only=True)
class PolicyRule:
    """A rule on requests that go out of a VM, or come in.

    Without rules, everything may go out, and any port is reachable with the organisation's key. A rule that allows some
    requests to go out denies the rest; once there is a rule for what comes in, only the ports that rules name are
    reachable.

    Attributes:
        type: ``outbound`` or ``inbound``.
        priority: From 0 to 1,000,000; the rule with the highest one decides, and no two of a type have the same.
        action: ``allow``, ``deny``, ``suspend``, or a `RequestAction`.
        match: The requests that it is about; all by default.
        auth: Who may come in (deprecated by the service): ``open`` (anyone), ``arker`` (the organisation), or a token.
        expires_at: Time from which a rule for what comes in no longer holds (RFC 3339).
    """

    type: PolicyDirection = field(validator=check.one_of(("outbound", "inbound")))
    priority: int = field(validator=check.integer(0))
    action: PolicyAction = converted(_action, attrs.NOTHING)
    match: PolicyMatch | None = converted(instance(PolicyMatch, "a PolicyMatch"))
    auth: PolicyAuth | None = converted(_auth)
    expires_at: str | None = field(default=None, validator=check.optional(check.text))

    def __attrs_post_init__(self) -> None:
        if self.priority > _HIGHEST_PRIORITY:
            raise InvalidArgumentError("priority", self.priority, f"expected at most {_HIGHEST_PRIORITY:,}")
        match = self.match or PolicyMatch()
        if self.type == "outbound":
            for name in ("auth", "expires_at"):
                if getattr(self, name) is not None:
                    raise InvalidArgumentError(name, "given", "expected it only in a rule of the type inbound")
            for name in ("vm_state", "via", "ssh_keys", "connection_state"):
                if getattr(match, name) is not None:
                    expected = "expected it only in a rule of the type inbound"
                    raise InvalidArgumentError(f"match[{name!r}]", getattr(match, name), expected)
        elif match.hosts is not None:
            raise InvalidArgumentError("match['hosts']", match.hosts, "expected it only in a rule of the type outbound")
        elif any(check.is_array(port) for port in match.ports or ()):
            raise InvalidArgumentError("match['ports']", match.ports, "expected single ports in a rule of type inbound")


@frozen(kw_only=True)
class ScheduleRule:
    """A rule that deletes or suspends the VM at a time. Exactly one of the times is given.

    Attributes:
        action: ``delete`` or ``suspend``.
        at: The time (RFC 3339).
        after_created: Seconds after the VM was made, up to 30 days.
        after_last_running_start: Seconds after it last began to run, up to 30 days.
    """

    action: Literal["delete", "suspend"] = field(validator=check.one_of(("delete", "suspend")))
    at: str | None = field(default=None, validator=check.optional(check.text))
    after_created: int | None = field(default=None, validator=check.optional(check.integer(1)))
    after_last_running_start: int | None = field(default=None, validator=check.optional(check.integer(1)))
    type: Literal["schedule"] = "schedule"

    def __attrs_post_init__(self) -> None:
        check.check_one_of("type", self.type, ("schedule",))
        times = [
            name for name in ("at", "after_created", "after_last_running_start") if getattr(self, name) is not None
        ]
        if len(times) != 1:
            expected = "expected exactly one of at, after_created and after_last_running_start"
            raise InvalidArgumentError("at", self.at, expected)
        seconds = self.after_created or self.after_last_running_start
        if seconds is not None and seconds > _MOST_SECONDS:
            raise InvalidArgumentError(times[0], seconds, f"expected at most {_MOST_SECONDS:,} seconds (30 days)")


Rule: TypeAlias = PolicyRule | ScheduleRule


def _rule(argument: str, value: object) -> Rule | None:
    if value is None or isinstance(value, (PolicyRule, ScheduleRule)):
        return value
    what = "a PolicyRule, a ScheduleRule, or None to remove the rule"
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, value, f"expected {what}")
    kind = value.get("type")
    if kind == "schedule":
        return made(ScheduleRule, argument, value, what)
    if kind not in ("outbound", "inbound"):
        raise InvalidArgumentError(f"{argument}['type']", kind, "expected one of inbound, outbound, schedule")
    return made(PolicyRule, argument, value, what)


def _rules(argument: str, value: object) -> dict[str, Rule | None]:
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, value, "expected a mapping of ids to rules")
    rules: dict[str, Rule | None] = {}
    taken: dict[tuple[str, int], object] = {}
    for name, given in value.items():
        where = f"{argument}[{name!r}]"
        rule = rules[check_key(where, name, given)] = _rule(where, given)
        if isinstance(rule, PolicyRule):
            other = taken.setdefault((rule.type, rule.priority), name)
            if other != name:
                expected = f"expected a priority of its own, and the {rule.type} rule {other!r} has it"
                raise InvalidArgumentError(f"{where}['priority']", rule.priority, expected)
    return rules


def _secrets(argument: str, value: object) -> dict[str, str | None]:
    # No error may show a secret.
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, HIDDEN, "expected a mapping of names to values, or to None to remove one")
    secrets: dict[str, str | None] = {}
    for name, secret in value.items():
        where = f"{argument}[{name!r}]"
        if secret is not None and (not check.is_string(secret) or not secret):
            raise InvalidArgumentError(where, HIDDEN, "expected a non-empty string without NUL, or None")
        if secret == HIDDEN:
            raise InvalidArgumentError(where, HIDDEN, "expected the secret; servers show *** instead of it")
        secrets[check.check_text(argument, name, what="names that are not empty")] = secret
    return secrets


@frozen(kw_only=True)
class PolicyUpdate:
    """Changes of a VM's policy: what is not named stays as it is. A fork's are changes of its source's policy.

    Attributes:
        rules: Rules by their ids; None removes a rule.
        secrets: Values for ``${secret:NAME}`` by their names; None removes one. They are not in the repr.
    """

    rules: Mapping[str, Rule | None] | None = converted(_rules)
    secrets: Mapping[str, str | None] | None = converted(_secrets, repr=False)

    def __attrs_post_init__(self) -> None:
        if not self.rules and not self.secrets:
            raise InvalidArgumentError("rules", self.rules, "expected at least one rule or secret")

    def hidden(self) -> tuple[str, ...]:
        """Return what no log and no error may show."""
        rules = (self.rules or {}).values()
        tokens = [
            rule.auth.token for rule in rules if isinstance(rule, PolicyRule) and isinstance(rule.auth, PolicyToken)
        ]
        return (*[secret for secret in (self.secrets or {}).values() if secret is not None], *tokens)


PolicyInput: TypeAlias = PolicyUpdate | Mapping[str, Any]
"""The ``policies`` argument of `fork` and `update`: a `PolicyUpdate`, or a mapping with its fields."""


def policy_update(argument: str, value: object) -> PolicyUpdate:
    """Check a caller's policy. A mapping is converted."""
    return made(PolicyUpdate, argument, value, "a PolicyUpdate", secret=True)


__all__ = [
    "Gate",
    "PolicyAction",
    "PolicyAuth",
    "PolicyConnection",
    "PolicyDirection",
    "PolicyInput",
    "PolicyMatch",
    "PolicyRule",
    "PolicyToken",
    "PolicyUpdate",
    "PolicyVia",
    "PortRange",
    "RequestAction",
    "Rewrite",
    "ScaleAction",
    "ScheduleRule",
]
