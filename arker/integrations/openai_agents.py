"""OpenAI Agents SDK: VMs as the sandboxes of its agents, whose workspaces are saved and taken up again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from agents.sandbox.manifest import Manifest
from agents.sandbox.session import SandboxSession, SandboxSessionState
from agents.sandbox.session.dependencies import Dependencies
from agents.sandbox.session.manager import Instrumentation
from agents.sandbox.session.sandbox_client import BaseSandboxClient
from agents.sandbox.snapshot import SnapshotBase, SnapshotSpec, resolve_snapshot

from arker import AsyncArker, NotFoundError
from arker.errors import InvalidArgumentError
from arker.integrations._agents_session import ArkerSandboxClientOptions, ArkerSandboxSession, ArkerSandboxSessionState
from arker.integrations._loops import loop_client

if TYPE_CHECKING:
    from typing_extensions import Self


class _Session(SandboxSession):
    async def __aenter__(self) -> Self:
        try:
            return await super().__aenter__()
        except BaseException:
            if isinstance(self._inner, ArkerSandboxSession):
                await self._inner.discard()  # as `__aexit__` is not called
            raise


class ArkerSandboxClient(BaseSandboxClient[ArkerSandboxClientOptions | None]):
    """What makes sessions in VMs, and takes them up again from their state.

        config = RunConfig(sandbox=SandboxRunConfig(client=ArkerSandboxClient(ar)))

    Args:
        client: The client to use; it stays the caller's. By default one from the environment, of the cloud or of an
            embedded backend of its own, that is closed when the event loop ends.
        instrumentation: Takes the framework's events of the sessions.
        dependencies: What the sessions' snapshots and entries need.
    """

    backend_id = "arker"
    supports_default_options = True

    def __init__(
        self,
        client: AsyncArker | None = None,
        *,
        instrumentation: Instrumentation | None = None,
        dependencies: Dependencies | None = None,
    ) -> None:
        if client is not None and not isinstance(client, AsyncArker):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("client", client, "expected an AsyncArker")
        self._client = client
        self._instrumentation = instrumentation or Instrumentation()
        self._dependencies = dependencies

    async def _arker(self) -> AsyncArker:
        return self._client or (await loop_client()).client

    async def create(
        self,
        *,
        snapshot: SnapshotSpec | SnapshotBase | None = None,
        manifest: Manifest | None = None,
        options: ArkerSandboxClientOptions | None = None,
    ) -> SandboxSession:
        """Fork a VM for a session, see `BaseSandboxClient.create`."""
        chosen = options or ArkerSandboxClientOptions()
        checked = self._validate_manifest_for_create(manifest or Manifest())
        session_id = uuid.uuid4()
        kept = resolve_snapshot(snapshot, str(session_id))
        vm = await (await self._arker()).fork(chosen.source, **chosen.limits)
        state = ArkerSandboxSessionState(
            session_id=session_id,
            snapshot=kept,
            manifest=checked,
            exposed_ports=chosen.exposed_ports,
            vm_id=vm.id,
            options=chosen,
        )
        return self._wrap(ArkerSandboxSession(state, vm))

    async def resume(self, state: SandboxSessionState) -> SandboxSession:
        """Go on in the VM of a state, or in a new one that gets the workspace from the state's snapshot."""
        if not isinstance(state, ArkerSandboxSessionState):
            raise InvalidArgumentError("state", type(state).__name__, "expected an ArkerSandboxSessionState")
        state.assert_path_grants_rebound()
        client = await self._arker()
        try:
            vm = await client.get_vm(state.vm_id)
            found = True
        except NotFoundError:
            vm = await client.fork(state.options.source, **state.options.limits)
            state.vm_id, state.workspace_root_ready, found = vm.id, False, False
        session = ArkerSandboxSession(state, vm)
        session._set_start_state_preserved(found)
        return self._wrap(session)

    def _wrap(self, session: ArkerSandboxSession) -> SandboxSession:
        return _Session(session, instrumentation=self._instrumentation, dependencies=self._resolve_dependencies())

    async def delete(self, session: SandboxSession) -> SandboxSession:
        """Delete the VM of a session, also one that was to be kept."""
        inner = session._inner
        if not isinstance(inner, ArkerSandboxSession):
            raise InvalidArgumentError("session", type(inner).__name__, "expected a session of this client")
        await inner.delete()
        return session

    def deserialize_session_state(self, payload: dict[str, object]) -> SandboxSessionState:
        """Read what `serialize_session_state` has written."""
        return self._deserialize_session_state_payload(payload, ArkerSandboxSessionState)


__all__ = ["ArkerSandboxClient", "ArkerSandboxClientOptions", "ArkerSandboxSession", "ArkerSandboxSessionState"]
