"""Checks of URLs from the API: presigned ones, their redirects, and tunnels.

Loaded at the first request.
"""

from __future__ import annotations

from typing import Final

from yarl import URL

from arker._basics.hosts import MalformedHostError, leads_here, parse_host
from arker._config.urls import is_loopback
from arker.errors import BadReplyError

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS: Final = 5
"""How often a presigned GET may be redirected."""


def presigned(url: str, base_url: str, insecure_hosts: frozenset[str]) -> URL:
    """Check a presigned URL from the API at ``base_url``; raises `BadReplyError`, which quotes nothing of it."""
    target = _parse(url)
    if target is None:
        raise BadReplyError("the presigned URL is not a URL", path="$.presigned_url")
    reason = _why_not(URL(base_url, encoded=True), target, plainly=_plainly(target, insecure_hosts))
    if reason is not None:
        raise BadReplyError(f"the presigned URL {reason}", path="$.presigned_url")
    return target


def tunnelled(url: str, path: str, base_url: str, insecure_hosts: frozenset[str]) -> URL:
    """Return a URL below a tunnel's URL from the API at ``base_url``; raises `BadReplyError`."""
    base = _parse(url)
    if base is None:
        raise BadReplyError("the tunnel's URL is not a URL", path="$.url")
    plainly = _plainly(base, insecure_hosts)
    reason = _why_not(URL(base_url, encoded=True), base, plainly=plainly)
    if reason is None and base.scheme == "http" and not plainly:
        reason = "is plain http://, which would send the tunnel's token in the clear"
    if reason is not None:
        raise BadReplyError(f"the tunnel's URL {reason}", path="$.url")
    # Unchanged: a server in the VM may distinguish "%41" from "A", and interprets ".." itself.
    target = URL(str(base.with_query(None).with_fragment(None)).rstrip("/") + path, encoded=True)
    assert target.origin() == base.origin()
    return target


def redirected(url: URL, location: str, status: int) -> URL:
    """Return the target of a redirected presigned GET; raises `BadReplyError`, which quotes nothing of it."""
    try:
        target = _parse(str(url.join(URL(location, encoded=True))))
    except ValueError:
        target = None
    if target is None:
        raise BadReplyError("the presigned URL redirects to what is not a URL", status=status)
    reason = _why_not(url, target, plainly=False)
    if reason is not None:
        raise BadReplyError(f"the presigned URL redirects to one that {reason}", status=status)
    return target


def _parse(url: str) -> URL | None:
    try:
        parsed = URL(url, encoded=True)
        # An invalid port is detected when it is read.
        usable = parsed.scheme in ("http", "https") and bool(parsed.host) and parsed.port is not None
        return parsed if usable else None
    except ValueError:
        return None


def _plainly(url: URL, insecure_hosts: frozenset[str]) -> bool:
    """Return whether a URL may be plain HTTP."""
    host = url.raw_host or ""
    return is_loopback(host) or host.lower() in insecure_hosts


def _is_here(url: URL) -> bool | None:
    """Return whether a URL leads to this machine or its links; None when its host is ambiguous."""
    try:
        return leads_here(parse_host(url.raw_host or ""))
    except MalformedHostError:
        return None


def _why_not(before: URL, after: URL, *, plainly: bool) -> str | None:
    """Return why a URL that came from another one must not be followed; None if it may.

    Args:
        before: The URL that it came from.
        after: The URL.
        plainly: Whether it may be plain HTTP although ``before`` is HTTPS.
    """
    if after.raw_user is not None or after.raw_password is not None:
        return "holds a user or password"
    here = _is_here(after)
    if here is None:
        # The code that connects may parse it differently than this file does.
        return "has a host that is not written as hosts are"
    if here and not _is_here(before):
        # It would reach services that listen on this machine's loopback.
        return "leads to this machine, and came from another one"
    if before.scheme == "https" and after.scheme == "http" and not plainly:
        return "leads from https:// to http://"
    return None


__all__ = ["MAX_REDIRECTS", "REDIRECTS", "presigned", "redirected", "tunnelled"]
