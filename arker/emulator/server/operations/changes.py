"""What a fork and a change of a VM have in common."""

from __future__ import annotations

from arker.emulator.server import parsing
from arker.emulator.server.errors import invalid, missing, unsupported

_LONGEST_DESCRIPTION = 1024


def parse_description(fields: parsing.Fields) -> str | None:
    """Return the description that a fork or a change gives a VM."""
    value = fields.raw("description")
    if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_DESCRIPTION):
        raise invalid("description", f"a string of at most {_LONGEST_DESCRIPTION} characters")
    return value


def refuse_keys_and_pools(fields: parsing.Fields) -> None:
    """Refuse SSH keys, for which there is no way into a VM, and pools, of which there are none."""
    keys = fields.raw("ssh_public_keys")
    if keys is not None and not isinstance(keys, (dict, list)):
        raise invalid("ssh_public_keys", "an object of keys by their ids")
    if keys:
        raise unsupported("ssh_public_keys: no SSH leads into VMs of the embedded backend", "public_ingress")
    for name in ("pool_id", "pool_name"):
        if fields.text(name) is not None:
            raise missing("pool", f"{name}: the organisation has no pools")


__all__ = ["parse_description", "refuse_keys_and_pools"]
