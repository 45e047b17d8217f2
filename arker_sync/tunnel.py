# Generated from arker/tunnel.py by "nox -s facade": change that file, not this one.
"""`TunnelHandle`: a tunnel to a port of a VM, usable as a context manager, and requests through it."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import arker
from arker import models
from arker._basics.typing import Self
from arker.models import Tunnel
from arker.tunnel import TunnelResponse
from arker_sync._bridge.facade import Facade


class TunnelHandle(Facade):
    """A tunnel from outside to a port of a VM.

    As a context manager it opens the tunnel at the start, waits until it is open, and deletes it at the end,
    also after an exception:

        with vm.tunnel(8080) as tunnel:
            print(tunnel.url, tunnel.request("GET", "/").status)

    Without a block, `open` opens it and `close` deletes it. An open tunnel does not mean that a server listens on the
    port.
    """

    _async: arker.AsyncTunnel

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port of the VM."""
        return self._async.port

    @property
    def vm_id(self) -> str:
        """The id of the tunnel's VM, or the name that the VM's handle was created with."""
        return self._async.vm_id

    @property
    def data(self) -> Tunnel | None:
        """The tunnel at the last read, including its token; None before it was opened."""
        return self._async.data

    @property
    def url(self) -> str:
        """The tunnel's public URL."""
        return self._async.url

    @property
    def state(self) -> models.TunnelState | str | None:
        """The state at the last read: ``starting``, ``open`` or ``closed``; None if the server does not report it."""
        return self._async.state

    @property
    def auth_token(self) -> str | None:
        """The token that requests need; None for a public tunnel. A secret."""
        return self._async.auth_token

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that a request through the tunnel needs: its authorization, or none. A secret."""
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
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None), raised=exc_type)

    def open(self) -> Self:
        """Open the tunnel and return it. Waits until it is open, unless it was created with ``wait=False``.

        If the call fails or is cancelled, no tunnel is left behind as far as the client can tell.

        Raises:
            TunnelClosedError: The tunnel was closed or could not be opened.
            NetworkError: With ``outcome="unknown"`` the tunnel may exist; the request is not repeated.
            DeadlineExceededError: The ``deadline`` of `VM.tunnel` has passed.
        """
        work = self._async.open()
        self._lease.call(work)
        return self

    def wait_open(self, *, deadline: float | None = None) -> Self:
        """Wait until the tunnel is open. Returns this tunnel.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            TunnelClosedError: The tunnel was closed or could not be opened.
            NotFoundError: There is no such tunnel (any more).
        """
        work = self._async.wait_open(deadline=deadline)
        self._lease.call(work)
        return self

    def wait_until_serving(self, path: str = "/", *, deadline: float | None = None) -> Self:
        """Wait until a server in the VM answers through the tunnel. Returns this tunnel.

        GET requests are sent, ever less often. Any reply ends the wait, also a 404 or a 500, except the statuses 502,
        503 and 504: the tunnel replies with them while no program listens on the port, and a server that is starting
        often does.

        Args:
            path: Path and optional query to request.
            deadline: Seconds for the whole call; None for no limit, even if the server never starts.

        Raises:
            TunnelClosedError: The tunnel was closed or could not be opened.
            NotFoundError: There is no such tunnel (any more).
            DeadlineExceededError: No server has answered by then.
        """
        work = self._async.wait_until_serving(path, deadline=deadline)
        self._lease.call(work)
        return self

    def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the tunnel's fields again. Returns this tunnel, which keeps its token.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such tunnel (any more).
        """
        work = self._async.refresh(deadline=deadline)
        self._lease.call(work)
        return self

    def close(self, *, deadline: float | None = None) -> models.DeleteTunnelResponse:
        """Delete the tunnel. One that is closed already, or gone with its VM, stays so.

        Args:
            deadline: Seconds for the whole call; None for no limit.
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
        body: bytes | bytearray | memoryview | None = None,
        deadline: float | None = None,
    ) -> TunnelResponse:
        """Send a request to the server in the VM, with the tunnel's authorization if it needs one.

        Redirects are not followed, so the token is sent only to the tunnel's own host; the API key is not sent. After a
        lost connection the request is retried by the client's retry policy; methods other than GET, HEAD and OPTIONS
        only if nothing had been sent. For other uses, such as WebSockets, pass ``url`` and ``headers`` to any HTTP
        library.

        Args:
            method: HTTP method.
            path: Path and optional query below the tunnel's URL. It is sent as given, including ``..`` and escapes;
                only characters that a request must not contain are escaped: spaces, control characters and non-ASCII
                characters.
            headers: Additional headers.
            body: Body of the request.
            deadline: Seconds for the whole call; None for no limit but the client's ``timeout``: each attempt ends when
                nothing has come for its ``idle`` time, also while the server in the VM is still at work.

        Raises:
            TunnelClosedError: The tunnel has been closed by this object.
            NetworkError: No response arrived, or nothing came for that time.
        """
        work = self._async.request(method, path, headers=headers, body=body, deadline=deadline)
        return self._lease.call(work)


__all__ = ["TunnelHandle"]
