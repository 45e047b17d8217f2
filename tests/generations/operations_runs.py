"""Operations of the client on runs, sessions and tunnels."""

from __future__ import annotations

from typing import Final

import anyio

from arker import BackgroundRunResult, CompletedRunResult
from tests.generations.scenes import Operation, Scene
from tests.support.waiting import longer_and_longer

_LONG_AGO: Final = "2020-01-01T00:00:00Z"


async def _run(scene: Scene) -> None:
    done = await scene.vm.run("echo out; echo err >&2; exit 3", idempotency_key=scene.name())
    assert (done.stdout, done.stderr, done.exit_code, done.state) == (b"out\n", b"err\n", 3, "completed")
    assert done.run_id is not None
    assert (await scene.vm.get_run(done.run_id)).stdout == b"out\n"


async def _run_surroundings(scene: Scene) -> None:
    done = await scene.vm.run("echo $A $PWD; cat", env={"A": "b"}, cwd="/tmp", input="given")
    assert done.stdout == b"b /tmp\ngiven"


async def _start_stdin(scene: Scene) -> None:
    run = await scene.vm.start("cat", stdin=True)
    await run.write("one ")
    await run.write("two")
    await run.close_stdin()
    assert (await run.wait()).stdout == b"one two"


async def _at_once(scene: Scene) -> None:
    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(_run_one, scene, number)


async def _run_one(scene: Scene, number: int) -> None:
    assert (await scene.vm.run(f"sleep 0.1; echo {number}")).stdout == f"{number}\n".encode()


async def _run_timeout(scene: Scene) -> None:
    for seconds in longer_and_longer(0.5):
        done = await scene.vm.run("echo a; sleep 600", timeout=seconds)
        if done.stdout:
            assert (done.stdout, done.state) == (b"a\n", "failed")
            break


async def _run_background(scene: Scene) -> None:
    begun = await scene.vm.run("echo late", background=True)
    assert (await scene.vm.attach_run(begun.run_id).wait()).stdout == b"late\n"


async def _run_time_to_background(scene: Scene) -> None:
    begun = await scene.vm.run("sleep 0.3; echo late", time_to_background=0)
    # A server of 0.5 does not know it: where the client was told that it speaks 1, the call waits for the end.
    if isinstance(begun, BackgroundRunResult):
        begun = await scene.vm.attach_run(begun.run_id).wait()
    assert begun.stdout == b"late\n"
    done = await scene.vm.run("echo soon", time_to_background=20)
    assert isinstance(done, CompletedRunResult)
    assert done.stdout == b"soon\n"


async def _run_queueing(scene: Scene) -> None:
    assert (await scene.vm.run("echo hi", queueing_timeout=5)).stdout == b"hi\n"


async def _run_session_idx(scene: Scene) -> None:
    assert (await scene.vm.run("echo hi", session_idx=0)).stdout == b"hi\n"


async def _run_new_session_idx(scene: Scene) -> None:
    assert (await scene.vm.run("echo hi", session_idx=7)).stdout == b"hi\n"


async def _run_sizes(scene: Scene) -> None:
    await scene.vm.run("true", vcpu_count=2)
    assert (await scene.vm.refresh()).vcpu_count == 2


async def _run_network(scene: Scene) -> None:
    begun = await scene.vm.start("sleep 60", network={"inbound": {"ports": {"8080": {"visibility": "public"}}}})
    assert [tunnel.port for tunnel in begun.tunnels] == [8080]


async def _run_acquire(scene: Scene) -> None:
    await scene.vm.run("true", acquire=["cpu", "memory"])


async def _run_release(scene: Scene) -> None:
    await scene.vm.run("true", release="disk")


async def _run_end_symbol(scene: Scene) -> None:
    assert (await scene.vm.run("echo hi", end_symbol="none")).stdout == b"hi\n"


async def _start(scene: Scene) -> None:
    run = await scene.vm.start("echo a; sleep 0.2; echo b; exit 4")
    assert b"".join([chunk.data async for chunk in run.output()]) == b"a\nb\n"
    assert (await run.wait()).exit_code == 4


async def _cancel(scene: Scene) -> None:
    run = await scene.vm.start("sleep 60")
    assert (await run.cancel()).cancelled is True
    done = await run.wait()
    assert done.state == "cancelled"


async def _signal(scene: Scene) -> None:
    for signal in ("INT", "SIGTERM"):
        run = await scene.vm.start("trap 'exit 5' INT TERM; echo up; while :; do sleep 0.05; done")
        async for _ in run.output():
            break
        await run.signal(signal)
        assert (await run.wait()).exit_code == 5


async def _signal_nothing(scene: Scene) -> None:
    await scene.vm.run("", signal="TERM")


async def _list_runs(scene: Scene) -> None:
    await scene.vm.run("echo one")
    page = await scene.vm.list_runs(state=["completed", "failed"], started_after=_LONG_AGO)
    assert [each.command for each in page] == ["echo one"]
    assert [each.command async for each in scene.vm.iter_runs(page_size=1)] == ["echo one"]


async def _list_pending(scene: Scene) -> None:
    await scene.vm.start("sleep 60", session_idx=0)
    second = await scene.vm.start("true", session_idx=0)
    assert second.run_id in [each.run_id for each in await scene.vm.list_runs(state="pending")]


async def _list_org_runs(scene: Scene) -> None:
    await scene.vm.run("echo mine")
    page = await scene.ar.list_runs(vm=scene.vm.id, endpoint="run", sort="when", dir="desc")
    assert [each.command for each in page.rows] == ["echo mine"]


async def _list_org_runs_region(scene: Scene) -> None:
    await scene.vm.run("echo mine")
    page = await scene.ar.list_runs(vm=scene.vm.id, region="us-west-2")
    assert [each.command for each in page.rows if each.command] == ["echo mine"]


async def _sessions(scene: Scene) -> None:
    made = await scene.vm.create_session(cwd="/tmp", env={"A": "b"})
    assert (await scene.vm.run("echo $A $PWD", session_id=made.session_id)).stdout == b"b /tmp\n"
    assert (await scene.vm.get_session(made.session_id)).cwd == "/tmp"
    assert made.session_id in [each.session_id for each in await scene.vm.list_sessions(state="idle")]
    assert made.session_id in [each.session_id async for each in scene.vm.iter_sessions(page_size=1)]
    assert (await scene.vm.delete_session(made.session_id)).deleted is True


async def _open_session(scene: Scene) -> None:
    async with scene.vm.open_session(cwd="/tmp") as session:
        assert (await session.run("pwd")).stdout == b"/tmp\n"


async def _terminal(scene: Scene) -> None:
    async with scene.vm.terminal(deadline=20) as terminal:
        await terminal.write("exit 3\n")
        assert await terminal.wait(deadline=20) == 3


async def _ticket(scene: Scene) -> None:
    made = await scene.vm.create_session()
    assert (await scene.vm.create_pty_ticket(made.session_id)).ticket


async def _create_tunnel(scene: Scene) -> None:
    made = await scene.vm.create_tunnel(ports=[8080])
    assert made.tunnel_key is not None
    assert (await scene.vm.get_tunnel(made.tunnel_key)).port == 8080
    assert (await scene.vm.delete_tunnel(made.tunnel_key)).deleted is True


async def _list_tunnels(scene: Scene) -> None:
    assert list(await scene.vm.list_tunnels()) == []
    assert [each async for each in scene.vm.iter_tunnels()] == []


async def _tunnel(scene: Scene) -> None:
    server = await scene.vm.start("mkdir -p www && cd www && echo hi > f && exec python3 -m http.server 8080")
    async with scene.vm.tunnel(8080, deadline=20) as tunnel:
        while (reply := await tunnel.request("GET", "/f")).status == 502:
            await anyio.sleep(0.05)  # nothing listens yet
        assert reply.body == b"hi\n"
    await server.cancel()


OPERATIONS: Final = (
    Operation("vm.run(), vm.get_run()", _run),
    Operation("vm.run(env=, cwd=, input=)", _run_surroundings),
    Operation("vm.start(stdin=True), run.write()", _start_stdin),
    Operation("vm.run() at once", _at_once),
    Operation("vm.run(timeout=)", _run_timeout),
    Operation("vm.run(background=True), run.wait()", _run_background),
    Operation("vm.run(time_to_background=)", _run_time_to_background),
    Operation("vm.run(queueing_timeout=)", _run_queueing),
    Operation("vm.run(session_idx=) of a session", _run_session_idx),
    Operation("vm.run(session_idx=) of none", _run_new_session_idx),
    Operation("vm.run(vcpu_count=)", _run_sizes),
    Operation("vm.start(network=)", _run_network),
    Operation("vm.run(acquire=)", _run_acquire),
    Operation("vm.run(release=)", _run_release),
    Operation("vm.run(end_symbol=)", _run_end_symbol),
    Operation("vm.start(), run.output()", _start),
    Operation("run.cancel()", _cancel),
    Operation("run.signal()", _signal),
    Operation("vm.run(signal=) of nothing", _signal_nothing),
    Operation("vm.list_runs(), vm.iter_runs()", _list_runs),
    Operation('vm.list_runs(state="pending")', _list_pending),
    Operation("ar.list_runs()", _list_org_runs),
    Operation("ar.list_runs(region=)", _list_org_runs_region),
    Operation("vm.create_session() and its kin", _sessions),
    Operation("vm.open_session()", _open_session),
    Operation("vm.terminal()", _terminal),
    Operation("vm.create_pty_ticket()", _ticket),
    Operation("vm.create_tunnel() and its kin", _create_tunnel),
    Operation("vm.list_tunnels(), vm.iter_tunnels()", _list_tunnels),
    Operation("vm.tunnel()", _tunnel),
)
