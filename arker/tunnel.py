"""`AsyncTunnel`: a tunnel to a port of a VM, usable as a context manager, and requests through it."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from arker import models
from arker._basics.guidance import instead
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._context import Place
from arker._files.sources import check_buffer
from arker._lifecycle.creation import Creation, Deleted
from arker._lifecycle.held import Held
from arker._protocol.calls import tunnels as tunnel_calls
from arker._runs.poll import pause
from arker._tasks import clock
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up
from arker._transport.attempts import Attempt, Progress, deadline_scope
from arker.errors import BadReplyError, ConfigurationError, InvalidArgumentError, NetworkError, TunnelClosedError
from arker.models import Tunnel, TunnelRequest
from arker.models import _checks as check

if TYPE_CHECKING:
    from arker._protocol.request import Call

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile(r"[^!-~]")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_NOT_SERVING = (502, 503, 504)


@frozen
class TunnelResponse:
    """The response of a server in a VM, with any status.

    Attributes:
        status: HTTP status.
        headers: Its headers; the names are case-insensitive.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    if not TYPE_CHECKING:
        __getattr__ = instead

    def __reduce__(self) -> tuple[Any, ...]:
        # The mapping of headers is a view, which cannot be pickled.
        return _unpickled, (self.status, list(self.headers.items()), self.body)

    @property
    def text(self) -> str:
        """The body decoded as UTF-8; invalid bytes become U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Parse the body as JSON. Raises `ValueError` if it is not JSON."""
        import orjson  # few programs read replies of tunnels as JSON

        return orjson.loads(self.body)


def _unpickled(status: int, headers: list[tuple[str, str]], body: bytes) -> TunnelResponse:
    from multidict import CIMultiDict, CIMultiDictProxy  # few programs pickle replies of tunnels

    return TunnelResponse(status, CIMultiDictProxy(CIMultiDict(headers)), body)


class AsyncTunnel(Held[Tunnel]):
    """A tunnel from outside to a port of a VM.

    As an async context manager it opens the tunnel at the start, waits until it is open, and deletes it at the end,
    also after an exception:

        async with vm.tunnel(8080) as tunnel:
            print(tunnel.url, (await tunnel.request("GET", "/")).status)

    Without a block, `open` opens it and `close` deletes it. An open tunnel does not mean that a server listens on the
    port.
    """

    __reduce__ = refuse_to_be_pickled

    _noun, _maker = "tunnel", "tunnel"

    def __init__(self, place: Place, port: int, request: TunnelRequest, wait: bool, deadline: float | None) -> None:
        """Initialize the tunnel. Use `AsyncVM.tunnel` to get one."""
        super().__init__(place)
        self._port = port
        self._request = request
        self._wait = wait
        self._deadline = deadline

    def __repr__(self) -> str:
        facts = "closed" if self._closed else "not open" if self._data is None else f"{self.state} at {self._data.url}"
        return shown(self._place.redact(f"<AsyncTunnel to port {self._port} of VM {self._place.vm_id}, {facts}>"))

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port of the VM."""
        return self._port

    @property
    def vm_id(self) -> str:
        """The id of the tunnel's VM, or the name that the VM's handle was created with."""
        return self._place.vm_id

    @property
    def data(self) -> Tunnel | None:
        """The tunnel at the last read, including its token; None before it was opened."""
        return self._data

    @property
    def url(self) -> str:
        """The tunnel's public URL."""
        url = self._opened().url
        if url is None:
            raise ConfigurationError(f"the tunnel is {self.state} and has no URL yet: call its wait_open()")
        return url

    @property
    def state(self) -> models.TunnelState | str | None:
        """The state at the last read: ``starting``, ``open`` or ``closed``; None if the server does not report it."""
        return "closed" if self._closed else self._opened().state

    @property
    def auth_token(self) -> str | None:
        """The token that requests need; None for a public tunnel. A secret."""
        return self._opened().auth_token

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that a request through the tunnel needs: its authorization, or none. A secret."""
        token = self.auth_token
        return MappingProxyType({} if token is None else {"Authorization": f"Bearer {token}"})

    def _key(self) -> str:
        key = self._opened().tunnel_key
        assert key is not None
        return key

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        self._enter_block()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave_block(raising=exc is None)

    def _name(self) -> str:
        return f"the tunnel to port {self._port} of the VM {self.vm_id}"

    def _removal(self) -> Coroutine[Any, Any, Deleted]:
        return self.close(deadline=CLEANUP_SECONDS)

    async def open(self) -> Self:
        """Open the tunnel and return it. Waits until it is open, unless it was created with ``wait=False``.

        If the call fails or is cancelled, no tunnel is left behind as far as the client can tell.

        Raises:
            TunnelClosedError: The tunnel was closed or could not be opened.
            NetworkError: With ``outcome="unknown"`` the tunnel may exist; the request is not repeated.
            DeadlineExceededError: The ``deadline`` of `AsyncVM.tunnel` has passed.
        """
        await self._open_once()
        return self

    async def _make(self) -> None:
        place = self._place

        def removal(made: Tunnel) -> Call[models.DeleteTunnelResponse]:
            return tunnel_calls.delete_tunnel(place, _key_of(made))

        call = tunnel_calls.create_tunnel(place, self._request)
        creation = Creation(place.context, call, removal, f"a tunnel of the VM {place.vm_id}")
        with deadline_scope(self._deadline, creation.progress):
            made = await creation.send()
            _key_of(made)
            self._data = made
            if self._wait:
                try:
                    await self._wait_open()
                except BaseException:
                    await clean_up(self._remove(raising=False))
                    raise

    async def wait_open(self, *, deadline: float | None = None) -> Self:
        """Wait until the tunnel is open. Returns this tunnel.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            TunnelClosedError: The tunnel was closed or could not be opened.
            NotFoundError: There is no such tunnel (any more).
        """
        with deadline_scope(deadline, self._progress("tunnel.wait_open")):
            await self._wait_open()
        return self

    async def _wait_open(self) -> None:
        began = clock.now()
        while not self._is_open():
            if self.state == "closed":
                message = self._opened().message or "the server does not say why"
                raise TunnelClosedError(
                    f"the tunnel to port {self._port} is closed: {self._place.redact(message)}",
                    port=self._port,
                    operation="tunnel.wait_open",
                    vm_id=self._place.redact(self.vm_id),
                )
            await clock.sleep(pause(clock.now() - began))
            await self.refresh()

    async def wait_until_serving(self, path: str = "/", *, deadline: float | None = None) -> Self:
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
        with deadline_scope(deadline, self._progress("tunnel.wait_until_serving")):
            await self._wait_open()
            began = clock.now()
            while not await self._serves(path):
                await clock.sleep(pause(clock.now() - began))
                await self.refresh()  # the tunnel itself may be gone
                await self._wait_open()
        return self

    async def _serves(self, path: str) -> bool:
        try:
            reply = await self.request("GET", path)
        except NetworkError:
            return False
        return reply.status not in _NOT_SERVING

    def _is_open(self) -> bool:
        """Return whether the tunnel is usable. In a state unknown to this version, it is if it has a URL."""
        return self._opened().url is not None and self.state not in ("starting", "closed")

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the tunnel's fields again. Returns this tunnel, which keeps its token.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such tunnel (any more).
        """
        token = self._opened().auth_token
        found = await self._place.send(tunnel_calls.get_tunnel(self._place, self._key()), deadline=deadline)
        # Only the reply to the creation has the token. The key is the one that the request named.
        self._data = evolve(found, auth_token=token, tunnel_key=self._key())
        return self

    async def close(self, *, deadline: float | None = None) -> models.DeleteTunnelResponse:
        """Delete the tunnel. One that is closed already, or gone with its VM, stays so.

        Args:
            deadline: Seconds for the whole call; None for no limit.
        """
        call = tunnel_calls.delete_tunnel(self._place, self._key())
        return await self._close(call, models.DeleteTunnelResponse(deleted=True), deadline)

    # --- requests through it --------------------------------------------------------------------------------------

    async def request(
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
        verb = check.check_text("method", method, what="an HTTP method").upper()
        if not _TOKEN.fullmatch(verb):
            raise InvalidArgumentError("method", method, "expected an HTTP method, such as GET")
        where = check.check_text("path", path, what="a path that begins with '/'")
        if not where.startswith("/") or "\n" in where or "\r" in where:
            raise InvalidArgumentError("path", path, "expected a path that begins with '/', and a query if need be")
        if "#" in where:
            raise InvalidArgumentError("path", path, "expected no '#': a fragment is never sent (%23 stands for one)")
        where = _UNSENDABLE.sub(_percent, where)
        content = None if body is None else _checked_body(body)
        sent = {**_checked_headers(headers, content or b"", authorized=self.auth_token is not None), **self.headers}
        if self._closed:
            raise TunnelClosedError("the tunnel is closed", port=self._port, operation="tunnel.request")
        url, base_url = self.url, self._place.base_url
        repeatable = verb in _SAFE_METHODS
        attempt = Attempt(
            verb,
            changes_something=not repeatable,
            may_repeat_lost=repeatable,
            presigned_url=url,
            label="(tunnel)",
            sent=0 if content is None else len(content),
        )
        progress = self._progress("tunnel.request")

        async def once() -> TunnelResponse:
            http = await self._place.context.transport.ready()
            response = await http.through_tunnel(url, where, verb, sent, content, base_url=base_url)
            attempt.response = response
            return TunnelResponse(response.status, response.headers, response.body)

        with deadline_scope(deadline, progress):
            return await self._place.context.transport.attempts(once, attempt, progress)

    def _progress(self, operation: str) -> Progress:
        return Progress(operation, vm_id=self.vm_id, redact=self._place.redact)


def _key_of(tunnel: Tunnel) -> str:
    if tunnel.tunnel_key is None or tunnel.tunnel_key.strip() in {"", ".", ".."}:
        problem = "the reply to the creation of a tunnel names no tunnel_key"
        raise BadReplyError(problem, path="$.tunnel_key", outcome="applied", operation="vm.create_tunnel")
    return tunnel.tunnel_key


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))


def _checked_headers(headers: Mapping[str, str] | None, body: bytes, *, authorized: bool) -> dict[str, str]:
    if headers is None:
        return {}
    if not check.is_mapping(headers):
        raise InvalidArgumentError("headers", headers, "expected a mapping of names to strings")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidArgumentError("headers", name, "expected names of headers")
        if not check.is_string(value) or "\n" in value or "\r" in value:
            # The value is not shown: headers hold secrets.
            raise InvalidArgumentError(f"headers[{name!r}]", "(not shown)", "expected a string on one line")
        if authorized and name.lower() == "authorization":
            raise InvalidArgumentError(f"headers[{name!r}]", "(not shown)", "expected none: the tunnel has its own")
        # With others the server would wait for more, or take the rest for a request of its own.
        if name.lower() == "content-length" and value.strip() != str(len(body)):
            expected = f"expected {len(body)}, the size of the body, which is sent anyway"
            raise InvalidArgumentError(f"headers[{name!r}]", value, expected)
        if name.lower() == "transfer-encoding":
            expected = "expected none: the body is sent with its Content-Length"
            raise InvalidArgumentError(f"headers[{name!r}]", value, expected)
        checked[name] = value
    return checked


def _checked_body(body: object) -> bytes:
    return body if isinstance(body, bytes) else bytes(check_buffer("body", body))


__all__ = ["AsyncTunnel", "TunnelResponse"]
