"""URLs and hosts in settings, checked before the API key goes to one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from arker._config.environment import Environment
from arker.errors import InvalidArgumentError
from arker.models import _checks as check


def is_loopback(host: str) -> bool:
    """Return whether a host, as written in a URL, is this machine's loopback by name or address."""
    if host == "localhost":
        return True
    # Imported here: only hosts of plain HTTP are compared, and others at the first request to them.
    from arker._basics.hosts import MalformedHostError, parse_host

    try:
        parsed = parse_host(host)
    except MalformedHostError:
        return False
    return parsed == "localhost" if isinstance(parsed, str) else parsed.is_loopback


def base_url_of(argument: str, value: object) -> str | None:
    """Check a base URL, and return it in its usual spelling, without a slash at its end; None for None."""
    if value is None:
        return None
    text = value.strip().rstrip("/") if isinstance(value, str) else ""
    match = re.fullmatch(r"(?i:https?)://([^/?#\s]+)(/[^?#\s]*)?", text)
    if match is None or not text.isprintable():
        raise InvalidArgumentError(
            argument, _without_secrets(value), "expected an http:// or https:// URL without query or fragment"
        )
    if "@" in match[1]:
        raise InvalidArgumentError(argument, _without_secrets(value), "expected a URL without user or password")
    if not is_authority(text):
        expected = "expected a URL with an ASCII host, and a port up to 65535 if any"
        raise InvalidArgumentError(argument, _without_secrets(value), expected)
    # A server has one spelling, or the ledger would hold the forks of two.
    return text[: match.end(1)].lower() + text[match.end(1) :]


def check_secure(argument: str, url: str, insecure: frozenset[str]) -> str:
    """Reject plain HTTP, except to this machine and to hosts that the caller allows."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or is_loopback(host) or host in insecure:
        return url
    raise InvalidArgumentError(
        argument,
        url,
        f"expected an https:// URL, or {host!r} among insecure_hosts: http:// sends the API key in the clear",
    )


def insecure_hosts_of(given: object, env: Environment) -> frozenset[str]:
    """Return the hosts that may receive the key over plain HTTP, from an argument or else the environment."""
    if given is not None:
        if not check.is_array(given):
            raise InvalidArgumentError("insecure_hosts", given, "expected a list of host names")
        return frozenset(_host(f"insecure_hosts[{index}]", host) for index, host in enumerate(given))
    names = (env.get("ARKER_INSECURE_HOSTS") or "").split(",")
    return frozenset(_host("ARKER_INSECURE_HOSTS", name) for name in names if name.strip())


def _host(argument: str, value: object) -> str:
    host = value.strip().lower() if isinstance(value, str) else ""
    if re.fullmatch(r"[a-z0-9._-]+", host):
        return host
    if ":" in host:
        from ipaddress import IPv6Address  # few programs name such hosts

        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            IPv6Address(bare)
            return bare
        except ValueError:
            pass
    expected = "expected the exact name or address of a host, without scheme and port"
    raise InvalidArgumentError(argument, _without_secrets(value), expected)


def is_authority(url: str) -> bool:
    """Return whether the host and the port of a URL are valid."""
    try:
        parts = urlsplit(url)
        # Reading ``port`` raises ValueError if it is invalid.
        return bool(parts.hostname) and url.isascii() and "\\" not in parts.netloc and parts.port != -1
    except ValueError:
        return False


def _without_secrets(value: object) -> object:
    """Return the value given as a URL without user, password, query and fragment."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"^(\s*\w+://)?.*@", r"\1…@", value, flags=re.DOTALL)
    return re.sub(r"([?#]).*", r"\1…", text, flags=re.DOTALL)


__all__ = ["base_url_of", "check_secure", "insecure_hosts_of", "is_authority", "is_loopback"]
