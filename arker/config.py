"""Settings from arguments and the environment (contract, sections 1 and 2). Only this module reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import field, fields, frozen

from arker import models
from arker._basics import names
from arker._basics.arguments import guide
from arker._basics.descriptors import most_connections
from arker._config import key as keys
from arker._config import ledger as ledgers
from arker._config import places
from arker._config.environment import Environment
from arker._config.urls import base_url_of, check_secure, insecure_hosts_of, is_authority, is_loopback
from arker.errors import ConfigurationError, InvalidArgumentError
from arker.models import _checks as check

DEFAULT_CONTROL_BASE_URL: Final = "https://arker.ai/api"
DEFAULT_MAX_CONNECTIONS: Final = 512
DEFAULT_OVERLAP_SESSIONS: Final = 8

GenerationSetting: TypeAlias = Literal["auto", "1", "0.5"]
"""The generation of the API that a client speaks; ``auto`` finds out for each base URL."""
_GENERATIONS: Final = ("auto", "1", "0.5")


@guide
@frozen(kw_only=True)
class RetryPolicy:
    """A retry policy: how often and how soon to retry.

    The delay before attempt n+2 is ``min(max_delay, base_delay * 2**n)`` plus a random 0 to ``jitter``; the server's
    ``Retry-After``, up to 60 s, takes its place.

    Attributes:
        attempts: Total number of attempts; 1 means no retry.
        base_delay: Seconds.
        max_delay: Seconds.
        jitter: Seconds.
    """

    attempts: int = field(default=4, validator=check.integer(1))
    base_delay: float = field(default=0.2, validator=check.duration)
    max_delay: float = field(default=2.0, validator=check.duration)
    jitter: float = field(default=0.05, validator=check.duration)

    def delay(self, failures: int, random: float) -> float:
        """Return the seconds to wait after ``failures`` failed attempts; ``random`` is from 0 to 1."""
        # Above 2**60 every delay is at its maximum, and a float would overflow.
        return min(self.max_delay, self.base_delay * 2.0 ** min(failures - 1, 60)) + self.jitter * random

    @classmethod
    def of(cls, value: RetryPolicy | Mapping[str, Any] | bool | None) -> RetryPolicy:
        """Convert a caller's argument to a policy: None or True is the default, False a single attempt."""
        if value is None or value is True:
            return cls()
        if value is False:
            return cls(attempts=1)
        if isinstance(value, RetryPolicy):
            return value
        names = [attribute.name for attribute in fields(cls)]
        if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("retry", value, "expected a RetryPolicy, a mapping with its fields, or False")
        return cls(**check.only_keys("retry", value, names))


@guide
@frozen(kw_only=True)
class HttpTimeouts:
    """Limits on a connection, in seconds. None means no limit.

    They do not limit a whole call; use ``deadline=`` for that. They do not limit the duration of a foreground run
    either, during which the server sends nothing until the command has ended.

    Attributes:
        connect: Time to connect to an address, including TLS but not the address lookup.
        idle: Time without progress on a connection, in either direction. Time spent on reading a local file or on
            computing a digest does not count. A reply that does not begin at all may be given up an eighth later.
        upload: Time for one whole presigned PUT (contract, section 6).
        silence: Interval at which the client checks, during a silent foreground run, whether the VM still exists. It
            limits nothing as long as the VM exists.
    """

    connect: float | None = field(default=10.0, validator=check.optional(check.seconds))
    idle: float | None = field(default=60.0, validator=check.optional(check.seconds))
    upload: float | None = field(default=600.0, validator=check.optional(check.seconds))
    silence: float | None = field(default=30.0, validator=check.optional(check.seconds))


@frozen(kw_only=True)
class Settings:
    """A client's settings, complete and checked.

    Attributes:
        api_key: The bearer token; never in the repr.
        base_url: Base URL of this region's VMs (compute); None if neither it nor a region is set, so that only
            organisation-wide calls work.
        burst_base_url: Base URL of burst VMs; None if there is none.
        control_base_url: Base URL of organisation-wide lists.
        region: The region; None if none is set.
        provider: ``aws``, ``aws-burst``, or another one.
        retry: The retry policy.
        timeouts: Limits on connections.
        max_connections: Maximum number of requests in flight, and of open connections per event loop.
        insecure_hosts: Hosts that may receive the key over plain HTTP, in lower case.
        ledger: The file that records forks; None without a ledger.
        strict_replies: Whether replies must contain all fields that the contract declares.
        overlap_sessions: Maximum number of the client's own sessions in a VM, for runs that overlap.
        generation: The generation of the API that requests are made for.
        is_placed: Whether the base URL is that of a provider and region, or there is none, so that a VM elsewhere is
            reached at the base URL of its own provider and region.
    """

    api_key: str = field(repr=False)
    base_url: str | None
    burst_base_url: str | None
    control_base_url: str
    region: str | None
    provider: str
    retry: RetryPolicy
    timeouts: HttpTimeouts
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    insecure_hosts: frozenset[str] = frozenset()
    ledger: Path | None = None
    strict_replies: bool = False
    overlap_sessions: int = DEFAULT_OVERLAP_SESSIONS
    generation: GenerationSetting = "auto"
    is_placed: bool = False

    def compute_base_url(self) -> str:
        """Return the compute base URL; raises `ConfigurationError` if there is none."""
        if self.base_url is None:
            raise ConfigurationError(places.NO_REGION)
        return self.base_url

    def vm_base_url(self, vm_id: str) -> str:
        """Return the base URL of a VM: for burst references the burst base URL, if there is one."""
        if self.burst_base_url is not None and names.is_burst_reference(vm_id):
            return self.burst_base_url
        return self.compute_base_url()

    def listed_base_url(self, vm: models.Vm) -> str:
        """Return the base URL of a VM in a list: that of its own provider and region, unless a base URL was set.

        Raises:
            ConfigurationError: There is no base URL, and the list does not say where the VM is.
        """
        is_burst = self.burst_base_url is not None and names.is_burst_reference(vm.vm_id)
        if self.is_placed and not is_burst and vm.region is not None and vm.provider is not None:
            try:
                region, provider = places.region_of("region", vm.region, places.provider_of("provider", vm.provider))
            except InvalidArgumentError:
                pass  # no host has such a name
            else:
                return places.built_url(provider, region)
        return self.vm_base_url(vm.vm_id)

    def fork_base_url(self, request: models.ForkRequest) -> str:
        """Return the base URL for a fork request (contract, section 2)."""
        if self.burst_base_url is None:
            return self.compute_base_url()
        by_id, by_name = request.source_vm_id, request.source_vm_name
        if by_id is not None:
            burst = names.is_burst_reference(by_id)
        else:
            golden = by_name is not None and by_name.strip().lower() == "arkuntu"
            burst = golden and request.source_org_id == names.ARKER_ORG_ID
        return self.burst_base_url if burst else self.compute_base_url()


def has_api_key() -> bool:
    """Return whether the environment has an API key."""
    return keys.variable_of(Environment(os.environ)) is not None


def state_directory() -> Path | None:
    """Return the directory where programs of this user keep their state; None if the user has none."""
    return ledgers.state_directory(Environment(os.environ))


def insecure_hosts() -> frozenset[str]:
    """Return the hosts that may receive secrets over plain HTTP, from the environment."""
    return insecure_hosts_of(None, Environment(os.environ))


def load_settings(
    api_key: str | None = None,
    *,
    base_url: str | None = None,
    burst_base_url: str | None = None,
    control_base_url: str | None = None,
    region: str | None = None,
    provider: str | None = None,
    retry: RetryPolicy | Mapping[str, object] | bool | None = None,
    timeout: HttpTimeouts | None = None,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
    insecure_hosts: Sequence[str] | None = None,
    ledger: bool | str | os.PathLike[str] | None = None,
    strict_replies: bool = False,
    overlap_sessions: int = DEFAULT_OVERLAP_SESSIONS,
    generation: GenerationSetting | str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Combine arguments and environment to settings. Raises `ConfigurationError` or `InvalidArgumentError`."""
    env = Environment(os.environ if environ is None else environ)

    key = keys.api_key_of(api_key, env)
    spoken = _generation(generation, env)
    wanted_provider = places.provider_of("provider", provider) if provider is not None else None
    if wanted_provider is None:
        from_env = env.get("ARKER_PROVIDER")
        wanted_provider = places.provider_of("ARKER_PROVIDER", from_env) if from_env is not None else None
    has_provider, wanted_provider = wanted_provider is not None, wanted_provider or "aws"

    wanted_region: str | None = None
    if region is not None:
        wanted_region, wanted_provider = places.region_of("region", region, wanted_provider)
    elif base_url is None:
        # An explicit base URL takes precedence: a region set in the environment must not contradict it.
        from_env = env.get("ARKER_REGION")
        if from_env is not None:
            wanted_region, wanted_provider = places.region_of("ARKER_REGION", from_env, wanted_provider)

    insecure = insecure_hosts_of(insecure_hosts, env)

    def url_of(argument: str, value: object) -> str | None:
        url = base_url_of(argument, value)
        return url if url is None else check_secure(argument, url, insecure)

    base = url_of("base_url", base_url) or url_of("ARKER_BASE_URL", env.get("ARKER_BASE_URL"))
    is_placed = base is None
    if base is None:
        # Generation 1 has calls that need no region. A provider alone names no host.
        if wanted_region is None and (has_provider or spoken == "0.5"):
            raise ConfigurationError(places.NO_REGION)
        base = None if wanted_region is None else places.built_url(wanted_provider, wanted_region)

    burst = url_of("burst_base_url", burst_base_url) or url_of("ARKER_BURST_BASE_URL", env.get("ARKER_BURST_BASE_URL"))
    if burst is None and wanted_region is not None and wanted_provider == "aws-burst":
        burst = places.built_url(wanted_provider, wanted_region)

    control = (
        url_of("control_base_url", control_base_url)
        or url_of("ARKER_CONTROL_BASE_URL", env.get("ARKER_CONTROL_BASE_URL"))
        or DEFAULT_CONTROL_BASE_URL
    )
    if timeout is not None and not isinstance(timeout, HttpTimeouts):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("timeout", timeout, "expected HttpTimeouts(connect=…, idle=…, upload=…)")
    return Settings(
        api_key=key,
        base_url=base,
        burst_base_url=burst,
        control_base_url=control,
        region=wanted_region,
        provider=wanted_provider,
        retry=RetryPolicy.of(retry),
        timeouts=timeout or HttpTimeouts(),
        max_connections=most_connections(check.check_integer("max_connections", max_connections, minimum=1)),
        insecure_hosts=insecure,
        ledger=ledgers.ledger_of(ledger, env, base or control),
        strict_replies=check.check_boolean("strict_replies", strict_replies),
        overlap_sessions=check.check_integer("overlap_sessions", overlap_sessions, minimum=0),
        generation=spoken,
        is_placed=is_placed,
    )


@frozen
class Explanation:
    """Where the settings of a client come from that is made without arguments.

    Attributes:
        rows: Name, value and origin of each setting; the key's value is never there.
        words: What such a client cannot do, or why none can be made; None if nothing is missing.
        is_valid: Whether all values that are set are valid.
    """

    rows: tuple[tuple[str, str, str], ...]
    words: str | None
    is_valid: bool = True


def explain_settings(environ: Mapping[str, str] | None = None) -> Explanation:
    """Explain the settings of a client that is made without arguments."""
    found = os.environ if environ is None else environ
    env = Environment(found)
    given = keys.variable_of(env)
    key = (
        ("API key", "(not set)", f"set {keys.VARIABLES[0]}")
        if given is None
        else ("API key", "(set, not shown)", given)
    )
    try:
        settings = load_settings("none" if given is None else None, environ=found)
    except (ConfigurationError, InvalidArgumentError) as error:
        return Explanation((key,), error.message, is_valid=False)
    base, burst, control = settings.base_url, settings.burst_base_url, settings.control_base_url
    hosts = ", ".join(sorted(settings.insecure_hosts))
    values = (
        ("base URL", base, "ARKER_BASE_URL", "of provider and region"),
        ("burst base URL", burst, "ARKER_BURST_BASE_URL", "of the region"),
        ("control base URL", control, "ARKER_CONTROL_BASE_URL", "default"),
        ("region", settings.region, "ARKER_REGION", "default"),
        ("provider", settings.provider, "ARKER_PROVIDER", "default"),
        ("generation", settings.generation, "ARKER_GENERATION", "default"),
        ("insecure hosts", hosts, "ARKER_INSECURE_HOSTS", "default"),
        ("ledger", str(settings.ledger or "off"), "ARKER_LEDGER", "default"),
    )
    rows = [
        (name, value or "(none)", variable if env.get(variable) else origin if value else "not set")
        for name, value, variable, origin in values
    ]
    words = None if base is not None else f"only calls for the whole organisation work: {places.NO_REGION}"
    if given is None:
        words = f"without an API key only embedded backends can be used: set {keys.VARIABLES[0]}"
    return Explanation((key, *rows), words)


def _generation(given: object, env: Environment) -> GenerationSetting:
    argument, value = ("generation", given) if given is not None else ("ARKER_GENERATION", env.get("ARKER_GENERATION"))
    if value is None:
        return "auto"
    spelling = value.strip().lower() if isinstance(value, str) else value
    if spelling not in _GENERATIONS:
        raise InvalidArgumentError(argument, value, "expected 'auto', '1' or '0.5'")
    return spelling


def proxy_for(scheme: str, host: str) -> str | None:
    """Return the environment's proxy for a host (``HTTPS_PROXY``, ``NO_PROXY``, …); None for loopback."""
    if is_loopback(host):
        return None
    # Imported here: only this function needs it, at the first request to a host.
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get(scheme)
    if not proxy or proxy_bypass(host):
        return None
    url = proxy if "://" in proxy else f"http://{proxy}"
    if not re.match(r"(?i:https?)://", url) or not is_authority(url):
        # The message does not show the value, which may contain a password.
        raise ConfigurationError(f"the environment's proxy for {scheme}:// is not an http:// or https:// URL")
    return url


__all__ = [
    "DEFAULT_CONTROL_BASE_URL",
    "DEFAULT_MAX_CONNECTIONS",
    "GenerationSetting",
    "HttpTimeouts",
    "Settings",
    "load_settings",
]
