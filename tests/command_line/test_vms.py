"""``arker fork``, ``ls``, ``rm``, ``snapshot``, ``whoami`` and ``regions``."""

from __future__ import annotations

import re
import time

import pytest

from tests.command_line.support import Program

VM_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


@pytest.mark.needs("words of 1")
def test_fork_prints_the_id_of_a_vm_with_what_was_asked_for(arker_program: Program) -> None:
    made = arker_program(
        *("fork", "ubuntu", "--name", "big", "--cpu", "3", "--memory", "2G", "--disk", "20480"),
        *("--network", "blocked", "--description", "for a test", "--json"),
    ).json
    assert made["network"] == {"type": "blocked"}
    (vm,) = arker_program("ls", "--json").json
    assert (vm["vm_id"], vm["name"], vm["vcpu_count"]) == (made["vm_id"], "big", 3)
    assert VM_ID.fullmatch(arker_program.good("fork", "ubuntu").strip())
    assert (vm["memory_mib"], vm["disk_mib"], vm["description"]) == (2048, 20480, "for a test")


def test_fork_of_a_vm_by_its_name_and_as_json(arker_program: Program, web: str) -> None:
    arker_program.good("run", "web", "--", "echo there > mark")
    made = arker_program("fork", "web", "--json").json
    assert made["vm_id"] != web
    assert arker_program.good("run", made["vm_id"], "--", "cat mark") == "there\n"


def test_fork_is_refused_in_one_line(arker_program: Program, web: str) -> None:
    assert "is taken" in arker_program.bad(1, "fork", "ubuntu", "--name", "web")
    assert "not_found" in arker_program.bad(1, "fork", "nothing")
    assert "either SOURCE or --image" in arker_program.bad(2, "fork")
    assert "--memory '2X': expected" in arker_program.bad(2, "fork", "ubuntu", "--memory", "2X")
    assert "--network 'allow:': expected" in arker_program.bad(2, "fork", "ubuntu", "--network", "allow:")
    assert "--ttl '0': expected" in arker_program.bad(2, "fork", "ubuntu", "--ttl", "0")
    assert "ledger" in arker_program.bad(2, "fork", "ubuntu", "--ttl", "1h")
    assert "vcpu_count=0" in arker_program.bad(2, "fork", "ubuntu", "--cpu", "0")
    assert len(arker_program("ls", "--json").json) == 1


def test_what_may_have_been_meant_by_a_source_that_is_not_there(arker_program: Program) -> None:
    message = arker_program.bad(1, "fork", "python:3.12")
    assert "; a container's image is given as --image of arker fork (" in message
    assert "image=" not in message
    assert "; there is a public golden 'ubuntu' (" in arker_program.bad(125, "run", "--fork", "ubunut", "--", "true")


def test_a_ttl_is_on_record_for_reap(arker_program: Program) -> None:
    ledger = str(arker_program.cwd / "ledger")
    made = arker_program.good("fork", "ubuntu", "--ttl", "0.1s", ARKER_LEDGER=ledger).strip()
    kept = arker_program.good("fork", "ubuntu", ARKER_LEDGER=ledger).strip()
    time.sleep(0.2)  # its time has come then, however fast the commands are
    assert f"deleted {made}\n" in arker_program.good("reap", ARKER_LEDGER=ledger)
    assert [vm["vm_id"] for vm in arker_program("ls", "--json").json] == [kept]


def test_reap_in_words_and_as_json(arker_program: Program) -> None:
    program = arker_program.with_env({"ARKER_LEDGER": str(arker_program.cwd / "ledger")})
    over = program.good("fork", "ubuntu", "--ttl", "0.1s").strip()
    program.good("fork", "ubuntu", "--ttl", "1h")
    time.sleep(0.2)  # the time of the first one has come then, however fast the commands are
    report = program("reap", "--dry-run", "--json").json
    assert [left["vm_id"] for left in report["deleted"]] == [over]
    assert (report["gone"], report["failed"], report["living"], report["dry_run"]) == ([], [], 1, True)
    assert "would delete" in program.good("reap", "--dry-run", "--older-than", "1d")
    assert "--older-than '1x': expected" in program.bad(2, "reap", "--older-than", "1x")
    assert "1 in use or with time left" in program.good("reap", "--older-than", "0")


def test_a_ttl_that_cannot_be_put_on_record(arker_program: Program) -> None:
    arker_program.cwd.joinpath("file").touch()
    done = arker_program("fork", "ubuntu", "--ttl", "1h", ARKER_LEDGER=str(arker_program.cwd / "file" / "ledger"))
    assert (done.status, done.out) == (1, "")
    assert "arker: --ttl needs the ledger of forks" in done.err
    assert arker_program.good("ls", "-q") == ""


@pytest.mark.needs("words of 1")
def test_ls_is_a_table_whose_columns_are_whole_in_a_pipe(arker_program: Program, web: str) -> None:
    description = "x" * 300
    arker_program.good("fork", "ubuntu", "--description", description)
    head, second, first = arker_program.good("ls").splitlines()
    assert head.split() == ["ID", "NAME", "STATE", "REGION", "CPU", "MEMORY", "AGE", "DESCRIPTION"]
    assert first.split()[:4] == [web, "web", "idle", "aws-us-west-2"]
    assert second.endswith(description)
    assert len(arker_program.good("ls", "--limit", "1").splitlines()) == 2
    assert arker_program("ls", "--state", "running", "--json").json == []


@pytest.mark.needs("words of 1")
def test_ls_lists_the_goldens(arker_program: Program) -> None:
    assert "ubuntu" in {vm["name"] for vm in arker_program("ls", "--goldens", "--json").json}


def test_ls_refuses_what_it_does_not_know(arker_program: Program) -> None:
    assert "--bad" in arker_program.bad(2, "ls", "--bad")
    assert "asleep" in arker_program.bad(2, "ls", "--state", "asleep")
    assert "--limit 0" in arker_program.bad(2, "ls", "--limit", "0")


@pytest.mark.needs("words of 1")
def test_names_cannot_move_the_cursor(arker_program: Program) -> None:
    arker_program.good("fork", "ubuntu", "--description", "\x1b[2Jgone\u202e")
    assert "\\x1b[2Jgone\\u202e" in arker_program.good("ls")


def test_rm_deletes_by_name_and_id_and_goes_on_after_a_failure(arker_program: Program, web: str) -> None:
    other = arker_program.good("fork", "ubuntu").strip()
    done = arker_program("rm", "web", "nothing", other)
    assert done.status == 1
    assert set(done.out.split()) == {web, other}
    assert done.err.startswith("arker: nothing: ")
    assert arker_program("ls", "--json").json == []
    assert arker_program.good("rm", "-f", "web") == ""
    assert "VM" in arker_program.bad(2, "rm")


def test_snapshot_is_forked_by_its_name(arker_program: Program, web: str) -> None:
    arker_program.good("run", "web", "--", "echo kept > mark")
    made = arker_program.good("snapshot", "web", "checkpoint").strip()
    assert made not in {"", web}
    assert arker_program.good("run", "--fork", "checkpoint", "--", "cat mark") == "kept\n"
    assert "is taken" in arker_program.bad(1, "snapshot", "web", "checkpoint")
    assert "not_found" in arker_program.bad(1, "snapshot", "nothing", "other")


@pytest.mark.needs("words of 1")
def test_whoami_and_regions(arker_program: Program) -> None:
    assert arker_program.good("whoami").split()[0] == "org_local"
    assert arker_program("whoami", "--json").json["org_id"] == "org_local"
    (place,) = arker_program("regions", "--json").json
    assert arker_program.good("regions").splitlines()[1].split() == ["aws", "us-west-2", place["endpoint"]]
    assert "unauthorized" in arker_program.bad(1, "whoami", ARKER_API_KEY="wrong-key")
    assert "--no" in arker_program.bad(2, "regions", "--no")
