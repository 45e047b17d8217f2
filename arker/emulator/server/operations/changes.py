"""What a fork and a change of a VM have in common."""

from __future__ import annotations

import re
from typing import Any

from arker.emulator.server import parsing
from arker.emulator.server.errors import invalid, missing, unsupported

_LONGEST_DESCRIPTION = 1024
_LONGEST_LABEL = 255
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def parse_description(fields: parsing.Fields) -> str | None:
    """Return the description that a fork or a change gives a VM."""
    value = fields.raw("description")
    if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_DESCRIPTION):
        raise invalid("description", f"a string of at most {_LONGEST_DESCRIPTION} characters")
    return value


def _adds_keys(fields: parsing.Fields) -> bool:
    """Check the SSH keys of a request, and return whether there is one that is not to be removed."""
    given = fields.raw("ssh_public_keys")
    if isinstance(given, list):  # the former form
        return bool(fields.texts("ssh_public_keys"))
    keys = fields.map("ssh_public_keys")
    members: dict[str, Any] = keys or {}
    for name, value in members.items():
        where = f"ssh_public_keys.{name[:100]}"
        if not _KEY_ID.fullmatch(name):
            raise invalid(where, "an id of 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit")
        if value is None:
            continue
        if not isinstance(value, dict):
            raise invalid(where, "an object, or null to remove the key")
        key = fields.inside(value, "SshKeyInput", where)  # pyright: ignore[reportUnknownArgumentType]
        key.required_text("public_key")
        label = key.text("name")
        if label is not None and len(label) > _LONGEST_LABEL:
            raise invalid(key.name("name"), f"at most {_LONGEST_LABEL} characters")
        key.text("expires_at")
    return any(value is not None for value in members.values())


def refuse_keys_and_pools(fields: parsing.Fields) -> None:
    """Refuse SSH keys, for which there is no way into a VM, and pools, of which there are none."""
    if _adds_keys(fields):
        raise unsupported("ssh_public_keys: no SSH leads into VMs of the embedded backend", "public_ingress")
    pools = [name for name in ("pool_id", "pool_name") if fields.text(name) is not None]
    if len(pools) > 1:
        raise invalid(", ".join(pools), "one of them")
    if pools:
        raise missing("pool", f"{pools[0]}: the organisation has no pools")


__all__ = ["parse_description", "refuse_keys_and_pools"]
