"""Pools: machines that only one organisation's VMs run on (contract-1, section 10)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from attrs import NOTHING, evolve, field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._fields import converted, made, texts
from arker.models._page import Page
from arker.models._reply import Reply, declared

PoolType: TypeAlias = Literal["managed", "byoc", "self_hosted"]
"""Who has the machines: the service, the caller's account at a provider, or the caller."""
PoolState: TypeAlias = Literal["creating", "running", "deleting"]
WorkerState: TypeAlias = Literal["creating", "running", "draining", "unreachable", "left"]

_PLATFORM: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_LONGEST_NAME: Final = 64


@frozen(kw_only=True)
class PoolResources(Reply):
    """The size of a pool, or of a part of it. In a request, all three are given.

    Attributes:
        vcpu: Number of CPUs.
        memory_mib: Memory, in MiB.
        disk_mib: Disk, in MiB.
    """

    vcpu: int
    memory_mib: int
    disk_mib: int


@frozen(kw_only=True)
class PoolCommitment(Reply):
    """A time for which a managed pool is paid for, of at least 24 hours.

    Attributes:
        starts_at: Its beginning (RFC 3339).
        ends_at: Its end (RFC 3339).
    """

    starts_at: str
    ends_at: str


@frozen(kw_only=True)
class PoolByoc(Reply):
    """The caller's own account at a provider that a pool's machines are in.

    Attributes:
        account_id: The account's id.
        subnet_ids: The subnets of the machines.
        security_group_ids: Their security groups.
        instance_types: Their types.
        role_name: The role that the service takes on in the account.
        external_id: The external id of that role.
        setup_url: Where the role is set up.
    """

    account_id: str
    subnet_ids: tuple[str, ...] = declared(())
    security_group_ids: tuple[str, ...] = declared(())
    instance_types: tuple[str, ...] = declared(())
    role_name: str | None = declared()
    external_id: str | None = declared()
    setup_url: str | None = declared()


@frozen(kw_only=True)
class Pool(Reply):
    """A pool. What only one type of pools has is None, or empty, for the others.

    Attributes:
        pool_id: The pool's id.
        type: ``managed``, ``byoc`` or ``self_hosted``.
        name: Its name; None if it has none.
        region: Its region.
        platform: The platform of its machines; None while a pool of the caller's machines has none.
        state: ``creating``, ``running`` or ``deleting``; an unknown state is kept unchanged.
        reason: Why it is in that state.
        created_at: Time of its creation (RFC 3339, UTC).
        resources: The size that was asked for.
        resources_reserved: What VMs have reserved of it.
        resources_provisioned: What its machines have.
        provider: The provider; None for the caller's own machines.
        commitments: The times that it is paid for (``managed``).
        isolation: What machines are isolated by (``byoc``).
        byoc: The account that the machines are in (``byoc``).
    """

    pool_id: str
    type: PoolType | str | None = declared()
    name: str | None = declared(nullable=True)
    region: str | None = declared()
    platform: str | None = declared(nullable=True)
    state: PoolState | str | None = declared()
    reason: str | None = declared(nullable=True)
    created_at: str | None = declared()
    resources: PoolResources | None = None
    resources_reserved: PoolResources | None = declared()
    resources_provisioned: PoolResources | None = declared()
    provider: str | None = None
    commitments: tuple[PoolCommitment, ...] = ()
    isolation: tuple[str, ...] = ()
    byoc: PoolByoc | None = None


@frozen(kw_only=True)
class ListPoolsResponse(Page[Pool], Reply):
    """A page of pools. There are more pages while ``next_cursor`` is set."""

    pools: tuple[Pool, ...]
    next_cursor: str | None = declared(nullable=True)

    def _items(self) -> tuple[Pool, ...]:
        return self.pools


@frozen(kw_only=True)
class Worker(Reply):
    """A machine of a pool.

    Attributes:
        worker_id: The machine's id.
        state: ``creating``, ``running``, ``draining``, ``unreachable`` or ``left``; an unknown state is kept unchanged.
        resources_provisioned: What it has.
        resources_reserved: What VMs have reserved of it.
        last_seen_at: Time of its last word (RFC 3339, UTC).
    """

    worker_id: str
    state: WorkerState | str | None = declared()
    resources_provisioned: PoolResources | None = declared()
    resources_reserved: PoolResources | None = declared()
    last_seen_at: str | None = declared()


@frozen(kw_only=True)
class ListPoolWorkersResponse(Page[Worker], Reply):
    """All machines of a pool. There is only one page."""

    workers: tuple[Worker, ...]

    def _items(self) -> tuple[Worker, ...]:
        return self.workers


PoolSize: TypeAlias = PoolResources | Mapping[str, int]
"""The ``resources`` argument of `create_pool` and `update_pool`: `PoolResources`, or a mapping with its fields."""
PoolCommitments: TypeAlias = Sequence[PoolCommitment | Mapping[str, str]]
"""The ``commitments`` argument: times, or mappings with their fields."""


# --- requests --------------------------------------------------------------------------------------------------------


def _account(argument: str, value: object) -> str:
    if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
        raise InvalidArgumentError(argument, value, "expected an account's id of 12 digits")
    return value


@frozen(kw_only=True)
class CreatePoolByoc:
    """The account at a provider that the machines of a new pool are to be in.

    Attributes:
        account_id: The account's id, 12 digits.
        subnet_ids: The subnets of the machines.
        security_group_ids: Their security groups; by default the server decides.
        instance_types: Their types; by default the server decides.
    """

    account_id: str = converted(_account, NOTHING)
    subnet_ids: Sequence[str] = converted(texts, NOTHING)
    security_group_ids: Sequence[str] | None = converted(texts)
    instance_types: Sequence[str] | None = converted(texts)


def _platform(argument: str, value: object) -> str:
    if not isinstance(value, str) or not _PLATFORM.fullmatch(value):
        expected = "expected a platform's id of up to 32 of a-z, 0-9, '_' and '-', the first a letter or a digit"
        raise InvalidArgumentError(argument, value, expected)
    return value


def _name(argument: str, value: object) -> str:
    name = check.check_text(argument, value, what="a non-empty name")
    if len(name) > _LONGEST_NAME:
        raise InvalidArgumentError(argument, value, f"expected at most {_LONGEST_NAME} characters")
    return name


def _clearable(argument: str, value: object) -> str:
    return "" if value == "" else _name(argument, value)


def _isolation(value: Sequence[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not check.is_array(value):
        raise InvalidArgumentError("isolation", value, "expected ['vms'], or an empty list")
    found = [check.check_one_of(f"isolation[{index}]", each, ("vms",)) for index, each in enumerate(value)]
    return tuple(dict.fromkeys(found))


def _resources(value: PoolSize | None) -> PoolResources | None:
    if value is None:
        return None
    size = made(PoolResources, "resources", value, "PoolResources")
    for name in ("vcpu", "memory_mib", "disk_mib"):
        check.check_integer(f"resources[{name!r}]", getattr(size, name), minimum=0)
    return size


def _commitments(value: PoolCommitments | None) -> tuple[PoolCommitment, ...] | None:
    if value is None:
        return None
    if not check.is_array(value):
        raise InvalidArgumentError("commitments", value, "expected a list of PoolCommitment, or an empty one")
    times: list[PoolCommitment] = []
    for index, each in enumerate(value):
        where = f"commitments[{index}]"
        time = made(PoolCommitment, where, each, "a PoolCommitment")
        check.check_text(f"{where}['starts_at']", time.starts_at)
        check.check_text(f"{where}['ends_at']", time.ends_at)
        times.append(time)
    return tuple(times)


def _byoc(value: CreatePoolByoc | Mapping[str, Any] | None) -> CreatePoolByoc | None:
    return None if value is None else made(CreatePoolByoc, "byoc", value, "a CreatePoolByoc")


_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "managed": ("platform", "resources"),
    "byoc": ("platform", "resources", "byoc"),
    "self_hosted": (),
}
_POSSIBLE: Final[Mapping[str, tuple[str, ...]]] = {
    "managed": ("name", "platform", "resources", "commitments"),
    "byoc": ("name", "platform", "resources", "provider", "isolation", "byoc"),
    "self_hosted": ("name", "resources"),
}


@frozen(kw_only=True)
class CreatePoolRequest:
    """The request of `POST /v1/pools`. What has to be given, and can be, depends on the type.

    Attributes:
        type: ``managed``, ``byoc`` or ``self_hosted``.
        name: The pool's name, up to 64 characters.
        platform: The platform of its machines (``managed``, ``byoc``; required).
        resources: Its size (required for ``managed`` and ``byoc``).
        commitments: The times that it is paid for (``managed``).
        provider: The provider (``byoc``): ``aws``, also by default.
        isolation: What machines are isolated by (``byoc``): ``vms``.
        byoc: The account that the machines are in (``byoc``; required).
    """

    type: PoolType = field(validator=check.one_of(tuple(_NEEDED)))
    name: str | None = converted(_name)
    platform: str | None = converted(_platform)
    resources: PoolResources | None = field(default=None, converter=_resources)
    commitments: tuple[PoolCommitment, ...] | None = field(default=None, converter=_commitments)
    provider: Literal["aws"] | None = field(default=None, validator=check.optional(check.one_of(("aws",))))
    isolation: tuple[str, ...] | None = field(default=None, converter=_isolation)
    byoc: CreatePoolByoc | None = field(default=None, converter=_byoc)

    def __attrs_post_init__(self) -> None:
        for name in ("name", "platform", "resources", "commitments", "provider", "isolation", "byoc"):
            value = getattr(self, name)
            if value is None and name in _NEEDED[self.type]:
                raise InvalidArgumentError(name, None, f"expected a value for a pool of the type {self.type}")
            if value is not None and name not in _POSSIBLE[self.type]:
                raise InvalidArgumentError(name, value, f"expected nothing for a pool of the type {self.type}")

    def complete(self) -> CreatePoolRequest:
        """Return the request with what is the same in all requests of its type."""
        return evolve(self, provider="aws") if self.type == "byoc" else self


@frozen(kw_only=True)
class UpdatePoolRequest:
    """The request of `PATCH /v1/pools/{pool_id}`, with at least one change.

    Attributes:
        name: The pool's name, up to 64 characters; an empty one removes it.
        resources: Its size.
        commitments: All the times that it is paid for.
    """

    name: str | None = converted(_clearable)
    resources: PoolResources | None = field(default=None, converter=_resources)
    commitments: tuple[PoolCommitment, ...] | None = field(default=None, converter=_commitments)

    def __attrs_post_init__(self) -> None:
        if self.name is None and self.resources is None and self.commitments is None:
            raise InvalidArgumentError("name", None, "expected at least one of name, resources and commitments")


__all__ = [
    "CreatePoolByoc", "CreatePoolRequest", "ListPoolWorkersResponse", "ListPoolsResponse", "Pool", "PoolByoc",
    "PoolCommitment", "PoolCommitments", "PoolResources", "PoolSize", "PoolState", "PoolType", "UpdatePoolRequest",
    "Worker", "WorkerState",
]  # fmt: skip
