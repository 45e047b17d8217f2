"""What a user's blocking program looks like to a type checker: checked by `test_types.py`, never run."""

from __future__ import annotations

from contextlib import closing

from typing_extensions import assert_type

from arker_sync import (
    VM,
    Arker,
    BackgroundRunResult,
    CompletedRunResult,
    DeleteVmResponse,
    FleetOutcome,
    Hooks,
    Items,
    ListVmsResponse,
    Run,
    RunResult,
    Session,
    Vm,
)


def clients() -> None:
    Arker()
    Arker("key", region="us-west-2", retry=False, hooks=Hooks())
    with Arker() as ar:
        assert_type(ar, Arker)
    with Arker.local(isolation="none") as local:
        assert_type(local, Arker)
    ar.close()


def vms(ar: Arker, background: bool) -> None:
    with ar.fork("ubuntu") as vm:
        assert_type(vm, VM)
    assert_type(ar.fork(vm, network=True), VM)
    assert_type(vm.refresh(), VM)
    assert_type(vm.data, Vm | None)
    assert_type(ar.list_vms(), ListVmsResponse)
    assert_type(vm.run("true"), CompletedRunResult)
    assert_type(vm.run("true", background=True), BackgroundRunResult)
    assert_type(vm.run("true", background=background), RunResult)
    assert_type(vm.get_run("run"), Run)
    assert_type(vm.sync("path"), bytes)
    vm.sync("path", b"data")
    assert_type(vm.create_session(env={"A": "b"}), Session)
    assert_type(vm.delete(), DeleteVmResponse)


def iterators(ar: Arker, vm: VM) -> None:
    def count(vm: VM, line: str) -> int:
        return len(vm.run(line).stdout)

    with ar.fork_many("ubuntu", 2) as fleet:
        with closing(fleet.map(count, ["true"])) as outcomes:
            assert_type(outcomes, Items[FleetOutcome[VM, str, int]])
        with fleet.map(count, ["true"]) as outcomes:
            assert_type(next(outcomes).unwrap(), int)
    with ar.iter_vms() as vms, closing(vm.attach_run("r").lines()) as lines:
        assert_type(next(vms, None), VM | None)
        assert_type([line.text for line in lines], list[str])
