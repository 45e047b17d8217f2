"""Policies: what may go out of a VM and come in, and when it is deleted or suspended."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import (
    ANY,
    BOOLEAN,
    COUNT,
    ID_PATTERN,
    MAYBE_TEXT,
    TEXT,
    TIME,
    Schemas,
    closed,
    either,
    integer,
    mapping,
    one_of,
    or_null,
    ref,
    some,
)

_PORT: Final = integer(1, 65535)
_SOME_TEXTS: Final = some(TEXT, minItems=1)
_SECONDS: Final = integer(1, 2_592_000)
_DOCUMENT: Final = {
    "policies": some(ref("PolicyEntry")),
    "secrets": mapping(TEXT),
    "hostname": MAYBE_TEXT,
    "mitm_domains": some(TEXT),
    "warnings": some(TEXT),
}
_RULE: Final = either(ref("PolicyRule"), ref("ScheduleRule"), ref("LifecycleRule"))

POLICIES: Final[Schemas] = {
    "PolicyWriteRequest": closed(_DOCUMENT),
    "PolicyDoc": closed(_DOCUMENT),
    "PolicyEntry": closed(
        {
            "type*": one_of("outbound", "inbound"),
            "match": ref("PolicyMatch"),
            "action*": ref("PolicyAction"),
            "auth": one_of("open", "arker"),
        }
    ),
    "PolicyMatch": closed(
        {
            "ports": some(either(_PORT, some(_PORT, minItems=2, maxItems=2)), minItems=1),
            "ips": _SOME_TEXTS,
            "hosts": _SOME_TEXTS,
            "methods": _SOME_TEXTS,
            "paths": _SOME_TEXTS,
            "headers": mapping(some(TEXT)),
            "query_params": mapping(some(TEXT)),
            "body_contains": _SOME_TEXTS,
            "vm_state": one_of("idle", "running"),
            "via": some(one_of("port", "ssh", "pty"), minItems=1),
            "ssh_keys": _SOME_TEXTS,
            "connection_state": some(one_of("new", "open"), minItems=1),
        }
    ),
    "PolicyAction": either(
        one_of("allow", "deny", "delete", "suspend"),
        closed({"rewrite": ref("Rewrite"), "gate": ref("Gate"), "suspend": BOOLEAN, "scaling": ref("ScaleAction")}),
    ),
    "ScaleAction": closed({"suspend": BOOLEAN, "wake": BOOLEAN}),
    "Rewrite": closed(
        {
            "host": TEXT,
            "path": TEXT,
            "headers": mapping(TEXT),
            "remove_headers": some(TEXT),
            "remove_query_params": some(TEXT),
            "body": TEXT,
        }
    ),
    "Gate": closed(
        {
            "host*": TEXT,
            "path": TEXT,
            "method": TEXT,
            "headers": mapping(TEXT),
            "body": ANY,
            "allow_on_status*": some(integer(0, 65535)),
            "deny_on_timeout": BOOLEAN,
            "timeout_ms": COUNT,
        }
    ),
    "PolicyRule": closed(
        {
            "type*": one_of("outbound", "inbound"),
            "priority*": integer(0, 1_000_000),
            "match": ref("PolicyMatch"),
            "action*": ref("PolicyAction"),
            "auth": either(one_of("open", "arker"), closed({"token*": TEXT})),
            "expires_at": TIME,
        }
    ),
    "ScheduleRule": closed(
        {
            "type*": one_of("schedule"),
            "at": TIME,
            "after_created": _SECONDS,
            "after_last_running_start": _SECONDS,
            "action*": ref("PolicyAction"),
        }
    ),
    "LifecycleRule": closed(
        {
            "type*": one_of("lifecycle"),
            "when*": closed({"at": TIME, "after": _SECONDS}, minProperties=1, maxProperties=1),
            "action*": one_of("delete"),
        }
    ),
    "PolicyRules": mapping(_RULE, ID_PATTERN),
    "PolicyUpdate": closed(
        {
            "rules": mapping(or_null(_RULE), ID_PATTERN),
            "secrets": mapping(MAYBE_TEXT),
            "policies": or_null(some(ref("PolicyEntry"))),
        }
    ),
    "VmPolicies": closed(
        {"rules": ref("PolicyRules"), "secrets": mapping(TEXT), "mitm_domains": some(TEXT), "warnings": some(TEXT)}
    ),
}
