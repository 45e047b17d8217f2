# Generated from arker/_client/pools.py by "nox -s facade": change that file, not this one.
"""Pools. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import arker_sync
from arker import models
from arker_sync._client.base import ClientBase


class Pools(ClientBase):
    """The methods of `Arker` on pools: machines that only the organisation's VMs run on.

    They are for organisations that the service has admitted to pools. The others get `NotFoundError` from all of them.
    """

    def list_pools(
        self, *, cursor: str | None = None, limit: int | None = None, deadline: float | None = None
    ) -> models.ListPoolsResponse:
        """List one page of the organisation's pools. No region has to be set for it.

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of pools on the page; the server's maximum is 100.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: The organisation has no pools.
            UnsupportedOperationError: The server speaks generation 0.5 of the API.
        """
        work = self._async.list_pools(cursor=cursor, limit=limit, deadline=deadline)
        return self._lease.call(work)

    def iter_pools(
        self, *, cursor: str | None = None, page_size: int | None = None, deadline: float | None = None
    ) -> arker_sync.Items[models.Pool]:
        """Iterate over the organisation's pools. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of pools per page; the server's maximum is 100.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
            NotFoundError: The organisation has no pools.
        """
        iterator = self._async.iter_pools(cursor=cursor, page_size=page_size, deadline=deadline)
        return arker_sync.Items(iterator, self._lease)

    def create_pool(
        self,
        type: models.PoolType,
        *,
        name: str | None = None,
        platform: str | None = None,
        resources: models.PoolSize | None = None,
        commitments: models.PoolCommitments | None = None,
        isolation: Sequence[str] | None = None,
        byoc: models.CreatePoolByoc | Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> models.Pool:
        """Create a pool. Fork VMs into it by ``pool_id=`` or ``pool_name=`` of `fork`.

            pool = ar.create_pool(
                "managed", platform="linux", resources={"vcpu": 64, "memory_mib": 262144, "disk_mib": 1048576}
            )

        Args:
            type: ``managed`` (the service's machines), ``byoc`` (machines in the caller's account at a provider), or
                ``self_hosted`` (the caller's machines).
            name: The pool's name, up to 64 characters.
            platform: The platform of its machines; required for ``managed`` and ``byoc``, and only for them.
            resources: Its size, ``vcpu``, ``memory_mib`` and ``disk_mib``; required for ``managed`` and ``byoc``.
            commitments: The times that it is paid for, of at least 24 hours each; only for ``managed``.
            isolation: What machines are isolated by: ``["vms"]``; only for ``byoc``.
            byoc: The account that the machines are in; required for ``byoc``, and only for it.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            InvalidArgumentError: A value is invalid, is missing for this type, or is none of this type.
            AlreadyExistsError: The name is taken.
            NetworkError: With ``outcome="unknown"`` the pool may exist; the request is not repeated.
            NotFoundError: The organisation may not have pools.
            QuotaExceededError: The organisation has all the pools that it may have.
        """
        work = self._async.create_pool(
            type,
            name=name,
            platform=platform,
            resources=resources,
            commitments=commitments,
            isolation=isolation,
            byoc=byoc,
            deadline=deadline,
        )
        return self._lease.call(work)

    def get_pool(self, pool_id: str, *, deadline: float | None = None) -> models.Pool:
        """Read a pool.

        Args:
            pool_id: The pool's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such pool.
        """
        work = self._async.get_pool(pool_id, deadline=deadline)
        return self._lease.call(work)

    def update_pool(
        self,
        pool_id: str,
        *,
        name: str | None = None,
        resources: models.PoolSize | None = None,
        commitments: models.PoolCommitments | None = None,
        deadline: float | None = None,
    ) -> models.Pool:
        """Change a pool, and return it. What is not given stays as it is.

        Args:
            pool_id: The pool's id.
            name: Its name, up to 64 characters; an empty one removes it.
            resources: Its size, ``vcpu``, ``memory_mib`` and ``disk_mib``.
            commitments: All the times that it is paid for.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            InvalidArgumentError: No change was given, or a value is invalid.
            AlreadyExistsError: The name is taken.
            InvalidStateError: The pool is being deleted.
            NotFoundError: There is no such pool.
        """
        work = self._async.update_pool(
            pool_id, name=name, resources=resources, commitments=commitments, deadline=deadline
        )
        return self._lease.call(work)

    def delete_pool(self, pool_id: str, *, deadline: float | None = None) -> models.Pool:
        """Delete a pool. The deletion goes on after the reply: the pool that is returned has the state ``deleting``.

        Args:
            pool_id: The pool's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            InvalidStateError: The pool cannot be deleted now.
            NotFoundError: There is no such pool (any more).
        """
        work = self._async.delete_pool(pool_id, deadline=deadline)
        return self._lease.call(work)

    def list_pool_workers(self, pool_id: str, *, deadline: float | None = None) -> models.ListPoolWorkersResponse:
        """List all machines of a pool.

        Args:
            pool_id: The pool's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such pool.
        """
        work = self._async.list_pool_workers(pool_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Pools"]
