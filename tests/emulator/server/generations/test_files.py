"""Files: their list with digests, and what is told of them."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arker.emulator.server.operations import manifests
from tests.emulator.server.support import Api, chunk

pytestmark = pytest.mark.anyio


async def manifest(api: Api, vm: str, path: str) -> dict[str, Any]:
    reply = await api.sync(vm, {"op": "manifest", "path": path})
    assert reply.status == 200, reply
    return dict(reply.json)


async def test_a_manifest_has_every_regular_file(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    await today.run(
        vm,
        "mkdir -p d/e empty; printf one > d/a; printf two > d/e/'a b'; printf three > d/$'new\\nline'; : > d/none;"
        " ln -s a d/link; mkfifo d/pipe; chmod 750 d/a; chmod 600 d/none; chmod 644 d/e/* d/new*",
    )
    listed = await manifest(today, vm, "d")
    contents = {"a": b"one", "e/a b": b"two", "new\nline": b"three", "none": b""}
    modes = {"a": 0o750, "none": 0o600}
    assert listed == {
        "root": "/home/user/d",
        "hash_algo": "sha256",
        "truncated": False,
        "entries": [
            {
                "path": path,
                "size": len(content),
                "mode": modes.get(path, 0o644),
                "hash": hashlib.sha256(content).hexdigest(),
            }
            for path, content in sorted(contents.items())
        ],
    }
    assert (await manifest(today, vm, "/home/user/d/"))["entries"] == listed["entries"]
    for path in ("empty", "nothing"):
        assert (await manifest(today, vm, path))["entries"] == []


async def test_a_manifest_is_of_a_directory(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    await today.run(vm, "touch file; mkdir closed; chmod 0 closed; ln -s / top")
    for path in ("/", "", ".", "..", "d/../.."):
        assert (await today.sync(vm, {"op": "manifest", "path": path})).refusal == (400, "bad_request")
    for path, reason in (("file", "ENOTDIR"), ("closed", "EACCES"), ("top", "EINVAL")):
        reply = await today.sync(vm, {"op": "manifest", "path": path})
        assert reply.details["violations"][0]["message"].startswith(f"{reason}: ")


async def test_what_only_looks_like_a_file_is_not_in_a_manifest(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    for path in ("/proc", "/proc/self"):  # /proc/self/pagemap alone would take years
        assert (await manifest(today, vm, path))["entries"] == []


@pytest.mark.parametrize(("files", "truncated"), [(4, False), (5, True)])
def test_a_manifest_beyond_the_limit_is_truncated(tmp_path: Path, files: int, truncated: bool) -> None:
    for number in range(files):
        (tmp_path / str(number)).touch()
    words = ["sh", "-c", manifests.PROGRAM, "sh", str(tmp_path), "5"]
    output = subprocess.run(words, capture_output=True, check=True).stdout
    listed = manifests.read_listing(output, "x", most=4)
    assert (listed["root"], len(listed["entries"]), listed["truncated"]) == (str(tmp_path), 4, truncated)


async def test_generation_05_has_no_manifest(old: Api) -> None:
    vm = (await old.fork())["vm_id"]
    assert (await old.sync(vm, {"op": "manifest", "path": "d"})).refusal == (400, "bad_request")
    await old.write(vm, chunk("file", b"text"))
    read = await old.read(vm, "file")
    assert read == {"path": "file", "size": 4, "content": "text", "encoding": "utf-8"}


async def test_replies_say_what_they_are(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    written = await today.sync(vm, {"op": "write", "writes": [chunk("file", b"text", is_secret=False)]})
    assert (written.json["ok"], written.json["op"]) == (True, "write")
    read = await today.read(vm, "file")
    assert read == {"ok": True, "op": "read", "path": "file", "size": 4, "content": "text", "encoding": "utf8"}


async def test_an_upload_has_any_id(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    for upload_id in ("an-upload", "../../etc"):
        parts = [chunk("file", b"text", size=8, upload_id=upload_id, start=start, end=start + 4) for start in (0, 4)]
        results = [(await today.write(vm, part))[0] for part in parts]
        assert [result["complete"] for result in results] == [False, True]
    assert (await today.read(vm, "file"))["content"] == "texttext"


async def test_a_secret_is_not_in_the_list_of_runs(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    await today.write(vm, chunk("file", b"password", is_secret=True))
    (row,) = (await today.get("/v1/runs?endpoint=sync"))["rows"]
    assert row["body_in"] == ""
    assert row["body_bytes_in"] > 0


REASONS = [
    ("missing", "not_found", "ENOENT"),
    ("directory", "bad_request", "EISDIR"),
    ("file/below", "bad_request", "ENOTDIR"),
    ("closed/file", "bad_request", "EACCES"),
    ("loop", "bad_request", "ELOOP"),
    ("n" * 300, "bad_request", "ENAMETOOLONG"),
    ("pipe", "bad_request", "EINVAL"),
]


async def test_an_error_of_a_file_has_a_stable_reason(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    await today.run(vm, "mkdir directory closed; touch file; ln -s loop loop; mkfifo pipe; chmod 0 closed")
    for path, code, reason in REASONS:
        reply = await today.sync(vm, {"op": "read", "path": path})
        assert reply.code == code
        assert reply.message.startswith(f"{reason}: ")
        if code == "not_found":
            assert reply.details == {"resource": "file"}
            continue
        assert reply.details == {"violations": [{"field": "path", "message": reply.message}]}
        (result,) = await today.write(vm, chunk(path, b"x"))
        error = result["error"]
        assert (error["code"], error["message"].partition(":")[0]) == ("bad_request", reason)
        assert error["details"]["violations"] == [{"field": "path", "message": error["message"]}]


async def test_how_much_one_write_may_bring(today: Api, old: Api) -> None:
    part = bytes(4 * 1024 * 1024)
    for api, most in ((today, 5), (old, 2)):
        vm = (await api.fork())["vm_id"]
        parts = [chunk(str(number), part) for number in range(most)]
        assert all(result["written"] for result in await api.write(vm, *parts))
        reply = await api.sync(vm, {"op": "write", "writes": [*parts, chunk("more", b"x")]})
        assert reply.refusal == (413, "payload_too_large")


async def test_generation_1_takes_no_empty_write(new: Api) -> None:
    vm = (await new.fork())["vm_id"]
    assert (await new.sync(vm, {"op": "write", "writes": []})).refusal == (400, "bad_request")
