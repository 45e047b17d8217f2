"""A fleet's life: forked by its policy, and all deleted at the end, whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncFleet,
    BadRequestError,
    ConfigurationError,
    DeadlineExceededError,
    FleetError,
    FleetProgress,
    ForbiddenError,
    InvalidArgumentError,
)
from arker._fleets import pool
from tests.support.clients import make_client
from tests.support.cloud import Cloud, when
from tests.support.server import Reply, ScriptedServer, error, ok
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio


def refuse(*numbers: int) -> Callable[[int], Reply | None]:
    """Refuse the forks with these numbers."""

    def on_fork(number: int) -> Reply | None:
        return error("bad_request", "no more", status=400) if number in numbers else None

    return on_fork


async def test_a_fleet(client: AsyncArker, cloud: Cloud) -> None:
    fleet = client.fork_many("ubuntu", 20)
    assert repr(fleet) == "<AsyncFleet of 0 of 20 VMs>"
    async with fleet as same:
        assert same is fleet
        assert len(fleet) == len(set(fleet)) == 20
        assert {vm.id for vm in fleet.vms} == cloud.living
        assert fleet.vms[3] in fleet
        assert "vm-3" not in fleet
        assert fleet.failures == ()
        assert repr(fleet) == "<AsyncFleet of 20 of 20 VMs>"
    assert not cloud.living
    assert len(fleet) == 0
    assert repr(fleet) == "<AsyncFleet of left>"


async def test_what_goes_over_the_wire(client: AsyncArker, cloud: Cloud, server: ScriptedServer) -> None:
    async with client.fork_many("ubuntu", 3, network=False, memory_mib=512, durable=True, tunnel={"ports": [80]}):
        pass
    requests = cloud.forks()
    assert len({request.key for request in requests}) == 3
    for request in requests:
        assert request.json == {
            "source_vm_name": "ubuntu",
            "source_org_id": "ArkerHQ",
            "network": False,
            "memory_mib": 512,
            "durable": True,
            "tunnel": {"ports": [80]},
        }


async def test_the_owner_of_a_golden_is_named_once_for_all_forks(client: AsyncArker) -> None:
    # Each of hundreds of forks would make the request anew otherwise.
    plan = client.fork_many("ubuntu", 3)._pool.plan  # pyright: ignore[reportPrivateUsage]
    assert plan.request.source_org_id == "ArkerHQ"
    plan = client.fork_many("mine", 3)._pool.plan  # pyright: ignore[reportPrivateUsage]
    assert plan.request.source_org_id is None


async def test_from_an_image(server: ScriptedServer, cloud: Cloud) -> None:
    async with (
        make_client(server, generation="1") as client,
        client.fork_many(None, 2, image="python:3.12", command=["true"]),
    ):
        pass
    assert [request.json["image"] for request in cloud.forks()] == ["python:3.12"] * 2
    assert all("source" not in request.json for request in cloud.forks())


async def test_from_a_vm_with_names(client: AsyncArker, cloud: Cloud) -> None:
    source = await client.fork("ubuntu")
    async with client.fork_many(source, 3, name_prefix="worker", source_org_id="org"):
        pass
    forks = [request.json for request in cloud.forks()[1:]]
    assert {fork["source_vm_id"] for fork in forks} == {source.id}
    assert sorted(fork["name"] for fork in forks) == ["worker-0", "worker-1", "worker-2"]
    assert {fork["source_org_id"] for fork in forks} == {"org"}
    assert cloud.living == {source.id}


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"source": ""}, "source"),
        ({"source": 3}, "source"),
        ({"source": None}, "source"),
        ({"image": "python:3.12"}, "source"),
        ({"ttl": 0}, "ttl"),
        ({"count": 0}, "count"),
        ({"count": True}, "count"),
        ({"count": 2.0}, "count"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"at_least": 0}, "at_least"),
        ({"at_least": 3}, "at_least"),
        ({"replace": 1}, "replace"),
        ({"name_prefix": " "}, "name_prefix"),
        ({"memory_mib": -1}, "memory_mib"),
        ({"deadline": 0}, "deadline"),
        ({"progress": 3}, "progress"),
        ({"progress": asyncio.sleep}, "progress"),
    ],
)
async def test_wrong_arguments(client: AsyncArker, arguments: dict[str, Any], argument: str) -> None:
    given: dict[str, Any] = {"source": "ubuntu", "count": 2, **arguments}
    with pytest.raises(InvalidArgumentError) as caught:
        client.fork_many(**given)
    assert caught.value.argument == argument


async def test_all_or_nothing(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_fork = refuse(7)
    fleet = client.fork_many("ubuntu", 10)
    with pytest.raises(FleetError) as caught:
        async with fleet:
            raise AssertionError("there is no fleet")
    assert not cloud.living
    assert [type(each) for each in caught.value.errors] == [BadRequestError]
    assert caught.value.operation == "fork_many"
    assert (caught.value.outcome, caught.value.vm_ids) == ("not_started", ())
    assert caught.value.message.startswith("of 10 forks 1 failed, where all were wanted; the first: fork: no more")
    assert fleet.failures == caught.value.errors
    assert len(fleet) == 0


async def test_at_least_some(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_fork = refuse(0, 4, 9)
    async with client.fork_many("ubuntu", 10, at_least=7) as fleet:
        assert len(fleet) == len(cloud.living) == 7
        assert [type(each) for each in fleet.failures] == [BadRequestError] * 3
    assert not cloud.living
    cloud.on_fork = refuse(10, 14, 19)
    with pytest.raises(FleetError, match="of 10 forks 3 failed, where at least 8 were wanted"):
        async with client.fork_many("ubuntu", 10, at_least=8):
            raise AssertionError("there is no fleet")
    assert not cloud.living


async def test_the_first_failure_too_many_ends_the_forking(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_fork = refuse(2)
    with pytest.raises(FleetError):
        async with client.fork_many("ubuntu", 1000, max_concurrency=2):
            raise AssertionError("there is no fleet")
    assert len(cloud.forks()) < 10
    assert not cloud.living


async def test_no_more_at_once_than_wanted(client: AsyncArker, cloud: Cloud, server: ScriptedServer) -> None:
    cloud.on_fork = lambda number: ok(delay=0.01)
    async with client.fork_many("ubuntu", 12, max_concurrency=3):
        pass
    assert server.peak == 3
    assert len(cloud.forked) == 12


async def test_a_deadline_with_too_few(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_fork = lambda number: ok(delay=0.6) if number in (1, 3) else None
    with pytest.raises(DeadlineExceededError, match="had been forked, where at least 5 were wanted") as caught:
        async with client.fork_many("ubuntu", 5, deadline=0.3):
            raise AssertionError("there is no fleet")
    assert caught.value.operation == "fork_many"
    assert not cloud.living


async def test_a_deadline_with_enough(client: AsyncArker, cloud: Cloud) -> None:
    await (await client.fork("ubuntu")).delete()
    longer = longer_and_longer(1.0)
    while True:
        seconds = next(longer)
        first = len(cloud.forked)
        late = (first + 1, first + 3)

        def slow(number: int, late: tuple[int, int] = late, delay: float = 1.2 * seconds) -> Reply | None:
            return ok(delay=delay) if number in late else None

        cloud.on_fork = slow
        try:
            async with client.fork_many("ubuntu", 5, at_least=3, deadline=seconds) as fleet:
                # The late ones are undone before the block begins.
                assert {vm.id for vm in fleet} == cloud.living == {f"vm-{first + each}" for each in (0, 2, 4)}
                assert [type(each) for each in fleet.failures] == [DeadlineExceededError] * 2
            break
        except DeadlineExceededError:  # a busy machine's: there were too few
            pass
    assert not cloud.living


async def test_cancelled_while_it_is_forked(client: AsyncArker, cloud: Cloud) -> None:
    before = asyncio.all_tasks()
    some = asyncio.Event()

    async def program() -> None:
        async with client.fork_many("ubuntu", 30, max_concurrency=5, progress=when(lambda each: each.vms > 7, some)):
            raise AssertionError("it is cancelled before")

    cloud.on_fork = lambda number: ok(delay=0.01)
    task = asyncio.create_task(program())
    await some.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 7 < len(cloud.forked) < 30
    assert not cloud.living
    assert asyncio.all_tasks() == before


async def test_deleted_after_an_exception(client: AsyncArker, cloud: Cloud) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.fork_many("ubuntu", 5) as fleet:
            raise ZeroDivisionError(len(fleet))
    assert not cloud.living


async def test_cancelled_while_it_is_deleted(client: AsyncArker, cloud: Cloud) -> None:
    deleting = asyncio.Event()

    async def program() -> None:
        tell = when(lambda each: each.operation == "delete", deleting)
        async with client.fork_many("ubuntu", 20, max_concurrency=2, progress=tell):
            pass

    cloud.on_delete = lambda vm_id: None
    task = asyncio.create_task(program())
    await deleting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not cloud.living


async def test_a_loop_that_is_shut_down_while_a_fleet_is_deleted(client: AsyncArker, cloud: Cloud) -> None:
    ends: list[str] = []

    async def background(deleting: asyncio.Event) -> None:
        tell = when(lambda each: each.operation == "delete" and each.done == 3, deleting)
        async with client.fork_many("ubuntu", 20, max_concurrency=2, progress=tell):
            pass
        ends.append("in order")

    async def program() -> None:
        deleting = asyncio.Event()
        tasks.append(asyncio.create_task(background(deleting)))
        await deleting.wait()
        # asyncio.run cancels what is left, the fleet's own tasks too.

    tasks: list[asyncio.Task[None]] = []
    await asyncio.to_thread(asyncio.run, program())
    assert len(cloud.forked) == 20
    assert not cloud.living
    assert not ends
    assert tasks[0].cancelled()


async def test_deletions_that_fail_are_tried_again(client: AsyncArker, cloud: Cloud) -> None:
    failures: dict[str, int] = {"vm-0": 5, "vm-3": 5}  # more often than one call tries

    def fail(vm_id: str) -> Reply | None:
        if failures.get(vm_id, 0):
            failures[vm_id] -= 1
            return error("unavailable", "not now", status=503)
        return None

    cloud.on_delete = fail
    async with client.fork_many("ubuntu", 5):
        pass
    assert not cloud.living
    assert set(failures.values()) == {0}


def refuse_deletion(*vm_ids: str) -> Callable[[str], Reply | None]:
    def on_delete(vm_id: str) -> Reply | None:
        return error("forbidden", "it stays", status=403) if vm_id in vm_ids else None

    return on_delete


async def test_deletions_that_cannot_be_done(
    client: AsyncArker, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.on_delete = refuse_deletion("vm-1", "vm-4")
    with pytest.raises(FleetError, match="2 VMs could not be deleted and may still exist: vm-1, vm-4; the") as caught:
        async with client.fork_many("ubuntu", 6, max_concurrency=1):
            pass
    assert sorted(caught.value.vm_ids) == ["vm-1", "vm-4"]
    assert [type(each) for each in caught.value.errors] == [ForbiddenError] * 2
    assert (caught.value.operation, caught.value.outcome) == ("fleet.delete", "unknown")
    assert cloud.living == {"vm-1", "vm-4"}
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "vm-1, vm-4" in warning.getMessage()


async def test_the_block_s_own_exception_goes_first(
    client: AsyncArker, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.on_delete = refuse_deletion("vm-1")
    with pytest.raises(ZeroDivisionError):
        async with client.fork_many("ubuntu", 3):
            raise ZeroDivisionError
    assert "1 VMs of a fleet could not be deleted and may still exist: vm-1; the first: vm.delete: it" in caplog.text


async def test_forking_fails_and_so_does_the_deletion(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_fork = refuse(3)
    cloud.on_delete = refuse_deletion("vm-1")
    with pytest.raises(FleetError, match="of 5 forks 1 failed") as caught:
        async with client.fork_many("ubuntu", 5, max_concurrency=1):
            raise AssertionError("there is no fleet")
    assert (caught.value.vm_ids, caught.value.outcome) == (("vm-1",), "unknown")


async def test_a_fork_that_may_have_made_a_vm_is_no_fleet_that_was_not_started(
    client: AsyncArker, cloud: Cloud
) -> None:
    cloud.on_fork = lambda number: Reply(status=400, body=b"null") if number == 1 else None
    with pytest.raises(FleetError, match="of 3 forks 1 failed") as caught:
        async with client.fork_many("ubuntu", 3, max_concurrency=1):
            raise AssertionError("there is no fleet")
    assert [each.outcome for each in caught.value.errors] == ["unknown"]
    assert (caught.value.vm_ids, caught.value.outcome) == ((), "unknown")


@pytest.mark.parametrize(
    "refusal", [error("payment_required", status=402), ok({"deleted": False}), Reply(status=404, body=b"<html>")]
)
async def test_a_fork_that_is_cancelled_and_cannot_be_undone_is_told_of(
    client: AsyncArker, cloud: Cloud, refusal: Reply
) -> None:
    """One fork is refused at once, another is answered when it has been given up, and its VM stays."""
    cloud.on_fork = lambda number: error("payment_required", status=402) if number == 1 else Reply(delay=0.1)
    cloud.on_delete = lambda vm_id: refusal
    with pytest.raises(FleetError, match="of 2 forks 1 failed") as caught:
        async with client.fork_many("ubuntu", 2):
            raise AssertionError("there is no fleet")
    refused, doubted = caught.value.errors
    assert (refused.status, refused.outcome) == (402, "not_started")
    assert (doubted.vm_id, doubted.outcome, doubted.idempotency_key) == ("vm-0", "unknown", cloud.forks()[0].key)
    assert (caught.value.vm_ids, caught.value.outcome) == (("vm-0",), "unknown")


async def test_a_deletion_that_does_not_get_on_is_given_up(
    client: AsyncArker, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asyncio.all_tasks()
    monkeypatch.setattr(pool, "CLEANUP_SECONDS", 0.3)
    cloud.on_delete = lambda vm_id: ok(delay=30.0)
    with pytest.raises(FleetError, match="5 VMs could not be deleted") as caught:
        async with client.fork_many("ubuntu", 5, max_concurrency=1):
            pass
    assert len(caught.value.vm_ids) == 5
    assert asyncio.all_tasks() == before


async def test_who_deletes_a_vm_and_who_keeps_one(client: AsyncArker, cloud: Cloud) -> None:
    async with client.fork_many("ubuntu", 5) as fleet:
        kept, deleted, *_ = fleet
        kept.keep()
        assert kept.kept
        assert not deleted.kept
        await deleted.delete()
        cloud.lose(fleet.vms[3].id)
    assert cloud.living == {kept.id}


async def test_only_inside_its_block(client: AsyncArker, cloud: Cloud) -> None:
    async def work(vm: object, item: int) -> int:
        return item

    fleet = client.fork_many("ubuntu", 1)
    with pytest.raises(ConfigurationError, match="use it as a context manager"):
        fleet.map(work, [1])
    with pytest.raises(ConfigurationError, match="use it as a context manager"):
        await fleet.run("true")
    with pytest.raises(ConfigurationError, match="use it as a context manager"):
        _ = fleet.vms
    with pytest.raises(ConfigurationError, match="use it as a context manager"):
        iter(fleet)
    async with fleet:
        outcomes = fleet.map(work, [1])
        with pytest.raises(ConfigurationError, match="entered once"):
            await fleet.__aenter__()
        assert len(fleet) == 1
    with pytest.raises(ConfigurationError, match="has been left"):
        fleet.map(work, [1])
    with pytest.raises(ConfigurationError, match="has been left"):
        await anext(outcomes)
    with pytest.raises(ConfigurationError, match="entered once"):
        await fleet.__aenter__()


async def test_progress(client: AsyncArker, cloud: Cloud) -> None:
    told: list[FleetProgress] = []
    cloud.on_fork = refuse(1)
    async with client.fork_many("ubuntu", 3, at_least=2, max_concurrency=1, progress=told.append):
        pass
    assert [(each.operation, each.done, each.failed, each.total, each.vms) for each in told] == [
        ("fork_many", 0, 0, 3, 0),
        ("fork_many", 1, 0, 3, 1),
        ("fork_many", 2, 1, 3, 1),
        ("fork_many", 3, 1, 3, 2),
        ("delete", 0, 0, 2, 0),
        ("delete", 1, 0, 2, 0),
        ("delete", 2, 0, 2, 0),
    ]


async def test_a_progress_callback_that_raises(
    client: AsyncArker, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(progress: FleetProgress) -> None:
        raise ZeroDivisionError

    async with client.fork_many("ubuntu", 3, progress=tell) as fleet:
        assert len(fleet) == 3
    assert not cloud.living
    assert caplog.text.count("raised ZeroDivisionError") == 2  # once while they are forked, once while deleted


async def test_it_is_a_fleet(client: AsyncArker) -> None:
    assert type(client.fork_many("ubuntu", 1)) is AsyncFleet
