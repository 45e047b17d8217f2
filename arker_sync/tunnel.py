# Generated from arker/tunnel.py by "nox -s facade": change that file, not this one.
"""`TunnelHandle`: a tunnel to a port of a VM, for the length of a block, and requests through it."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import arker
from arker import models
from arker._typing import Self
from arker.models import Tunnel
from arker.tunnel import TunnelResponse
from arker_sync._facade import Facade


class TunnelHandle(Facade):
    """A way from outside to a port of a VM.

    As a context manager it is opened at the begin, waited for until it is open, and deleted at the end, whatever
    happens inside:

        with vm.tunnel(8080) as tunnel:
            print(tunnel.url, tunnel.request("GET", "/").status)

    Elsewhere, `open` opens it and `close` deletes it. That it is open does not mean that something listens on the port.
    """

    _async: arker.AsyncTunnel

    # --- what is known of it --------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port of the VM."""
        return self._async.port

    @property
    def vm_id(self) -> str:
        """The id of its VM, or the name that the VM's handle was made from."""
        return self._async.vm_id

    @property
    def data(self) -> Tunnel | None:
        """What was last read of it, its token included; None before it was opened."""
        return self._async.data

    @property
    def url(self) -> str:
        """Where it is reached."""
        return self._async.url

    @property
    def state(self) -> models.TunnelState | str | None:
        """``starting``, ``open`` or ``closed``, when it was last read; None if the server does not tell it."""
        return self._async.state

    @property
    def auth_token(self) -> str | None:
        """The token that requests need; None for a public tunnel. A secret."""
        return self._async.auth_token

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request through the tunnel has to bring: its authorization, or nothing. A secret."""
        return self._async.headers

    # --- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        work = self._async.__aenter__()
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        work = self._async.__aexit__(exc_type, exc, traceback)
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))

    def open(self) -> Self:
        """This tunnel, opened, and waited for unless it was made with ``wait=False``.

        When that fails, or its caller is cancelled meanwhile, no tunnel is left behind, as far as that can be known.

        Raises:
            TunnelClosedError: It was closed, or could not be opened.
            NetworkError: With ``outcome="unknown"`` the tunnel may exist: it is not asked for a second time.
            DeadlineExceededError: The ``deadline`` of `VM.tunnel` has passed.
        """
        work = self._async.open()
        self._lease.call(work)
        return self

    def wait_open(self, *, deadline: float | None = None) -> Self:
        """This tunnel, once it is open.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            TunnelClosedError: It was closed, or could not be opened.
            NotFoundError: There is no such tunnel (any more).
        """
        work = self._async.wait_open(deadline=deadline)
        self._lease.call(work)
        return self

    def refresh(self, *, deadline: float | None = None) -> Self:
        """This tunnel, with its fields read anew; its token stays.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such tunnel (any more).
        """
        work = self._async.refresh(deadline=deadline)
        self._lease.call(work)
        return self

    def close(self, *, deadline: float | None = None) -> models.DeleteTunnelResponse:
        """Delete the tunnel.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such tunnel (any more).
        """
        work = self._async.close(deadline=deadline)
        return self._lease.call(work)

    # --- requests through it --------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline: float | None = None,
    ) -> TunnelResponse:
        """What the server in the VM answers to a request, with the tunnel's authorization if it needs one.

        Redirects are not followed, so the token goes to the tunnel's own host only; the API key goes nowhere. A lost
        connection is tried again by the client's retry policy, other methods than GET, HEAD and OPTIONS only when
        nothing had been sent. For more than this, such as WebSockets, take ``url`` and ``headers`` to any HTTP library.

        Args:
            method: HTTP method.
            path: Path, and query if there is one, below the tunnel's URL. It goes out as it is given, ``..`` and
                escapes included; only what no request may hold is escaped: blanks, control characters, what is not
                ASCII.
            headers: Further headers.
            body: The request's body.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            TunnelClosedError: It has been closed here.
            NetworkError: No answer came.
        """
        work = self._async.request(method, path, headers=headers, body=body, deadline=deadline)
        return self._lease.call(work)


__all__ = ["TunnelHandle"]
