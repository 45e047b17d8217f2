"""The proxies that the server's own environment names. VMs' requests go through them, too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

import pybase64
from attrs import field, frozen

from arker._basics.hosts import MalformedHostError
from arker.emulator.server.proxy.egress import Target

logger = logging.getLogger("arker.emulator")

_PORTS: Final = {"http": 80, "https": 443}


@frozen
class Upstream:
    """A proxy to go through.

    Attributes:
        target: Where it is.
        tls: Whether connections to it use TLS.
        authorization: The value of its ``Proxy-Authorization``; None for none.
    """

    target: Target
    tls: bool = False
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Parse the value of a proxy variable. Raises `ValueError`, whose message does not contain the value."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            default_port = _PORTS.get(parts.scheme)
            if default_port is None:
                raise MalformedHostError("only http:// and https:// proxies are supported")
            target = Target.parse(parts.netloc.rpartition("@")[2], default_port=default_port)
        except MalformedHostError:
            raise
        except ValueError:
            raise MalformedHostError("it is no URL") from None
        authorization = None
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + pybase64.b64encode_as_string(credentials.encode())
        return cls(target, parts.scheme == "https", authorization)


@frozen
class Upstreams:
    """The proxies of an environment, by the scheme of the request."""

    proxies: Mapping[str, Upstream | None]
    """None for one that cannot be used."""
    exceptions: tuple[str, ...] = ()
    """Hosts, with all their subdomains, and ``host:port`` that are reached without a proxy; ``*`` for all."""

    @classmethod
    def from_environment(cls) -> Upstreams:
        """Read ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in lower or upper case."""
        named = getproxies_environment()
        proxies: dict[str, Upstream | None] = {}
        for scheme in ("http", "https"):
            url = named.get(scheme) or named.get("all")
            if url:
                try:
                    proxies[scheme] = Upstream.parse(url)
                except ValueError as error:
                    logger.warning("the %s proxy of the environment cannot be used: %s", scheme, error)
                    proxies[scheme] = None
        exceptions = [entry.strip().lower().lstrip(".") for entry in named.get("no", "").split(",")]
        return cls(proxies, tuple([entry for entry in exceptions if entry]))

    def applies(self, scheme: str, target: Target) -> bool:
        """Return whether requests to a target go through a proxy."""
        if scheme not in self.proxies:
            return False
        spellings = (f".{target.host}", f".{target.name}", f".{target}")
        return not any(
            entry == "*" or spelling.endswith(f".{entry}") for entry in self.exceptions for spelling in spellings
        )

    def get(self, scheme: str) -> Upstream | None:
        """Return the proxy of a scheme; None when it cannot be used."""
        return self.proxies[scheme]


__all__ = ["Upstream", "Upstreams"]
