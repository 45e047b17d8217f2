"""The program that puts what was uploaded into place, run here by ``sh``; and the reading of its report."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings

from arker import BadReplyError
from arker._directories.entries import is_utf8, to_bytes
from arker._directories.ignore import ignores_nothing
from arker._directories.local import scan
from arker._directories.plan import Step, make_plan
from arker._directories.script import Script, alias_script, build_script, parse_report, staging_places
from tests.directories.support import PATIENT, SHELLS, Directory, File, Link, Model, build, look, models, remove

STAGING = ".arker-01ARZ3NDEKTSV4RRFFQ69G5FAV"


def plan(source: Path, target: Path, *, delete: bool = True) -> list[Step]:
    trees = [scan(str(root), ignores_nothing, lambda: None) for root in (source, target)]
    return make_plan(*trees, delete=delete)


def stage(steps: list[Step], source: Path, target: Path) -> dict[str, str]:
    """Place the files as `upload_many` does."""
    places = staging_places(steps)
    for path, place in places.items():
        assert is_utf8(place)
        there = os.path.join(os.fsencode(target / STAGING), to_bytes(place))
        os.makedirs(os.path.dirname(there), exist_ok=True)
        with open(os.path.join(os.fsencode(source), to_bytes(path)), "rb") as file, open(there, "xb") as copy:
            copy.write(file.read())
    (target / STAGING).mkdir(exist_ok=True)
    return places


def run(script: Script, target: Path, *, shell: Sequence[str] = ("sh",)) -> dict[str, str]:
    """Run the script in the form in which it is uploaded. Returns its report."""
    place = target / STAGING / "script"
    place.write_bytes(script.text)
    done = subprocess.run([*shell, str(place), *script.arguments], capture_output=True, check=True)
    assert done.stderr == b""
    assert not os.path.lexists(target / STAGING)
    return parse_report(done.stdout, script)


def carry_out(steps: list[Step], source: Path, target: Path) -> dict[str, str]:
    return run(build_script(str(target), STAGING, steps, stage(steps, source, target)), target)


@settings(max_examples=15, deadline=None, suppress_health_check=PATIENT)
@given(first=models(), second=models())
def test_any_directory_becomes_any_other(tmp_path: Path, first: Model, second: Model) -> None:
    source, target = tmp_path / "so'urce", tmp_path / "tar get"
    for place, model in ((source, first), (target, second)):
        remove(place)
        build(place, model)
    assert carry_out(plan(source, target), source, target) == {}
    assert look(target) == first
    remove(target)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_does_the_same(tmp_path: Path, shell: Sequence[str]) -> None:
    source = build(tmp_path / "so'urce", {"a": Directory(0o555), "a/new\nline": File(b"x", 0o400), "f": Link("$(no)")})
    target = build(tmp_path / "tar get", {"a": Directory(0o555), "a/-old": File(), "f": Directory(), "busy": File()})
    steps = plan(source, target)
    script = build_script(str(target), STAGING, steps, stage(steps, source, target))
    (target / "busy").unlink()
    (target / "busy").mkdir()
    assert set(run(script, target, shell=shell)) == {"busy"}
    (target / "busy").rmdir()
    assert look(target) == look(source)
    remove(source)
    remove(target)


@pytest.mark.parametrize("arguments", [[], [""], ["."], [".", ""]])
def test_a_program_without_its_arguments_changes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    model: Model = {"d": Directory(), "d/f": File(b"precious")}
    build(tmp_path, model)
    program = build_script(str(tmp_path), STAGING, [], {}).text
    done = subprocess.run(["sh", "-c", program, "sh", *arguments], cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode != 0
    assert look(tmp_path) == model


def test_many_names_in_one_directory(tmp_path: Path) -> None:
    model: Model = {f"d/{'n' * 200}{number}": File(b"%d" % number, 0o600) for number in range(600)}
    source, target = build(tmp_path / "source", model), build(tmp_path / "target", {"d/old": File()})
    steps = plan(source, target)
    script = build_script(str(target), STAGING, steps, stage(steps, source, target))
    assert max(len(line) for line in script.text.split(b"\n")) < 100_000
    assert run(script, target) == {}
    assert look(target) == look(source)


def test_directories_that_their_owner_may_not_write_to(tmp_path: Path) -> None:
    source = build(tmp_path / "source", {"a": Directory(0o555), "a/b": Directory(0o500), "a/b/new": File(b"x", 0o400)})
    target = build(
        tmp_path / "target", {"a": Directory(0o555), "a/b": Directory(0o555), "a/b/old": File(), "z": Directory(0o555)}
    )
    assert carry_out(plan(source, target), source, target) == {}
    assert look(target) == look(source)
    remove(source)
    remove(target)


def test_a_directory_becomes_a_symlink_meanwhile(tmp_path: Path) -> None:
    """What a program in the VM may do between the listing and the end of the upload."""
    elsewhere = build(tmp_path / "elsewhere", {"old": File(b"precious"), "e": Directory(), "e/old": File(b"precious")})
    source = build(tmp_path / "source", {"d/new": File(b"x"), "d/e/new": File(b"x"), "l": Link("d"), "f": File(b"x")})
    target = build(tmp_path / "target", {"d/old": File(), "d/e/old": File(), "l": Directory(), "f": Directory()})
    before = look(elsewhere)
    steps = plan(source, target)
    places = stage(steps, source, target)
    (target / "d").rename(tmp_path / "away")
    (target / "d").symlink_to(elsewhere)
    for name in ("l", "f"):
        (target / name).rmdir()
        (target / name).symlink_to(elsewhere)
    problems = run(build_script(str(target), STAGING, steps, places), target)
    assert look(elsewhere) == before
    # Symlinks in the place of files are replaced themselves; below one that was a directory everything fails.
    assert set(problems) == {"d/new", "d/old", "d/e/new", "d/e/old", "l", "f"} - ({"l", "f"} - set(problems))
    assert problems["d/new"] == "its directory has gone"
    assert (target / "f").is_symlink() or (target / "f").read_bytes() == b"x"


def test_one_name_that_fails_loses_no_other(tmp_path: Path) -> None:
    source = build(tmp_path / "source", {"d/a": File(b"a"), "d/b": File(b"b"), "d/c": File(b"c"), "e": Directory()})
    target = build(tmp_path / "target", {"d": Directory(), "x/y": File(), "x/z": File()})
    steps = plan(source, target)
    places = stage(steps, source, target)
    build(target, {"d/b/new": File(b"made meanwhile"), "x/more": File(b"made meanwhile"), "e": File()})
    problems = run(build_script(str(target), STAGING, steps, places), target)
    assert set(problems) == {"d/b", "x", "e"}
    assert "directory" in problems["d/b"].lower()
    assert look(target) == {
        "d": Directory(),
        "d/a": File(b"a"),
        "d/b": Directory(),
        "d/b/new": File(b"made meanwhile"),
        "d/c": File(b"c"),
        "e": File(),
        "x": Directory(),
        "x/more": File(b"made meanwhile"),
    }


def test_what_was_not_uploaded_is_not_touched(tmp_path: Path) -> None:
    source = build(tmp_path / "source", {"a": File(b"new"), "b": File(b"new"), "empty": File(b"new")})
    target = build(tmp_path / "target", {"a": File(b"older"), "empty": Directory()})
    steps = plan(source, target)
    places = stage(steps, source, target)
    for path in ("a", "empty"):
        (target / STAGING / places.pop(path)).unlink()
    assert run(build_script(str(target), STAGING, steps, places), target) == {}
    assert look(target) == {"a": File(b"older"), "b": File(b"new"), "empty": Directory()}


def test_aliases(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "it's"
    build(root, {"d/\udcff\n": File(b"1"), "\udcfe'": File(b"2")})
    (home / STAGING).mkdir(parents=True)
    program = alias_script(str(root), STAGING, ["d/\udcff\n", "\udcfe'"])
    environment = {**os.environ, "HOME": str(home)}
    subprocess.run(["sh", "-c", program.text, "sh", *program.arguments], check=True, env=environment)
    assert [(home / STAGING / name).read_bytes() for name in "01"] == [b"1", b"2"]


# --- its report ------------------------------------------------------------------------------------------------------


def test_a_report_is_read() -> None:
    script = Script(b"", (), ("a", "b"))
    assert parse_report(b"end\0", script) == {}
    assert parse_report(b"1\0no \xff\n\0001\0again\0000\0\0end\0", script) == {"b": "no \udcff", "a": "no reason given"}


@pytest.mark.parametrize(
    "output", [b"", b"end", b"1\0end\0", b"2\0no\0end\0", b"-1\0no\0end\0", b"x\0no\0end\0", b"1\0no\0", b"end\0end\0x"]
)
def test_other_reports_are_bad_replies(output: bytes) -> None:
    with pytest.raises(BadReplyError) as caught:
        parse_report(output, Script(b"", (), ("a", "b")))
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_file_on_another_filesystem_is_the_old_one_or_the_new_one(tmp_path: Path, shell: Sequence[str]) -> None:
    there = "a mount/d"
    source = build(tmp_path / "source", {f"{there}/large": File(bytes(9000)), f"{there}/-new": File(b"1", 0o604)})
    build(source, {f"{there}/link": Link("-new"), f"{there}/full": File(b"2"), "top": File(b"3")})
    target = build(tmp_path / "target", {f"{there}/large": File(b"old"), f"{there}/full": File(b"old")})
    steps = plan(source, target)
    script = build_script(str(target), STAGING, steps, stage(steps, source, target))
    (target / STAGING / "script").write_bytes(script.text)
    # The mount has a directory in place of a file, and files of more than 4 KiB cannot be written.
    program = f"""
        mount -t tmpfs none {target}/'a mount' && cd {target}/'a mount' || exit 99
        mkdir -p d/full; printf old > d/large
        ulimit -f 8
        trap '' XFSZ
        "$@"
        cd d; ls -A . full; cat large ./-new link; stat -c %a ./-new"""
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", program, "sh", *shell, f"{target}/{STAGING}/script"]
    done = subprocess.run([*words, *script.arguments], capture_output=True, check=False)
    if done.returncode != 0 and b"end\0" not in done.stdout:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
    report, _, found = done.stdout.partition(b"end\0")
    assert set(parse_report(report + b"end\0", script)) == {f"{there}/large", f"{there}/full"}
    assert found.split() == [b".:", b"-new", b"full", b"large", b"link", b"full:", b"old11604"]
    assert (target / "top").read_bytes() == b"3"
    assert not (target / STAGING).exists()
