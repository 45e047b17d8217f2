"""What is planned for two directories: nothing on disk, nothing sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arker._directories.entries import Entry, Tree, ancestors, leads_outside, order, unsafe_name
from arker._directories.ignore import check_patterns, compile_patterns, hidden_names, without_ignored
from arker._directories.plan import make_plan, not_to_be_taken
from arker.errors import ConfigurationError, InvalidArgumentError
from tests.directories.support import told

D = Entry("directory", 0o755)
S = Entry("special", 0o644)


def F(content: str, mode: int = 0o644) -> Entry:
    return Entry("file", mode, len(content), digest=content)


def L(target: str) -> Entry:
    return Entry("symlink", target=target)


def tree(entries: dict[str, Entry], *, ignored: frozenset[str] = frozenset(), unreadable: tuple[str, ...] = ()) -> Tree:
    in_order = {path: entries[path] for path in sorted(entries, key=order)}
    return Tree("directory", in_order, ignored, dict.fromkeys(unreadable, "permission denied"))


def plan(source: dict[str, Entry], target: dict[str, Entry], *, delete: bool = False) -> list[str]:
    return told(make_plan(tree(source), tree(target), delete=delete))


# --- what differs ----------------------------------------------------------------------------------------------------


def test_each_kind_of_difference() -> None:
    source = {
        "new": F("x"),
        "same": F("x"),
        "size": F("xx"),
        "bytes": F("x"),
        "mode": F("x", 0o755),
        "d": D,
        "d/e": D,
        "e": Entry("directory", 0o700),
        "link": L("new"),
        "moved": L("a"),
        "right": L("a"),
        "pipe": S,
    }
    target = {
        "same": F("x"),
        "size": F("x"),
        "bytes": F("y"),
        "mode": F("x"),
        "d": D,
        "e": D,
        "moved": L("b"),
        "right": L("a"),
        "extra": F("x"),
    }
    assert plan(source, target) == [
        "update bytes",
        "unchanged d",
        "mkdir d/e",
        "chmod e",
        "symlink link",
        "chmod mode",
        "symlink moved",
        "create new",
        "skip pipe",
        "unchanged right",
        "unchanged same",
        "update size",
    ]
    assert [step for step in plan(source, target, delete=True) if step.startswith("delete")] == ["delete extra"]


def test_what_has_no_digest_counts_as_different() -> None:
    assert plan({"a": F("x")}, {"a": Entry("file", 0o644, 1)}) == ["update a"]
    assert plan({"a": Entry("file", 0o644, 1)}, {"a": Entry("file", 0o644, 1)}) == ["update a"]


def test_permissions_that_a_system_has_not_are_no_difference() -> None:
    assert plan({"a": Entry("file", None, 1, digest="x")}, {"a": F("x")}) == ["unchanged a"]


# --- what is in the way ----------------------------------------------------------------------------------------------


def test_another_kind_is_replaced_where_nothing_is_lost() -> None:
    assert plan({"a": F("x")}, {"a": L("b")}) == ["create a"]
    assert plan({"a": F("x")}, {"a": D}) == ["create a"]
    assert plan({"a": L("x")}, {"a": F("b")}) == ["symlink a"]
    assert plan({"a": D, "a/b": F("x")}, {"a": F("b")}) == ["mkdir a", "create a/b"]
    assert plan({"a": D, "a/b": F("x")}, {"a": L("elsewhere")}) == ["mkdir a", "create a/b"]


@pytest.mark.parametrize("entry", [F("x"), L("x")])
def test_a_directory_that_is_not_empty_goes_only_when_asked(entry: Entry) -> None:
    action = "create" if entry.kind == "file" else "symlink"
    assert plan({"a": entry}, {"a": D, "a/b": D}) == ["conflict a"]
    assert plan({"a": entry}, {"a": D, "a/b": D, "a/b/c": F("x")}, delete=True) == [
        f"{action} a",
        "delete a/b",
        "delete a/b/c",
    ]


def test_special_files_go_only_when_asked() -> None:
    assert plan({"a": F("x")}, {"a": S}) == ["conflict a"]
    assert plan({"a": F("x")}, {"a": S}, delete=True) == ["create a"]
    assert plan({}, {"a": S}, delete=True) == ["delete a"]


def test_below_a_conflict_nothing_is_planned() -> None:
    assert plan({"a": D, "a/b": F("x"), "c": F("x")}, {"a": S}) == ["conflict a", "create c"]


# --- what is not deleted ---------------------------------------------------------------------------------------------


def test_ignored_paths_and_what_holds_them_stay() -> None:
    target = tree({"d": D, "d/e": D, "d/e/x": F("x"), "d/f": F("x"), "g": D}, ignored=frozenset({"d/e/keep"}))
    assert told(make_plan(tree({}), target, delete=True)) == ["delete d/e/x", "delete d/f", "delete g"]
    for delete in (False, True):
        assert told(make_plan(tree({"d": F("x")}), target, delete=delete))[0] == "conflict d"
    assert told(make_plan(tree({"d": D, "d/e": D, "d/e/keep": F("x")}), target, delete=True))[2] == "conflict d/e/keep"


def test_where_the_source_is_unknown_nothing_is_deleted() -> None:
    target = tree({"d": D, "d/e": D, "d/e/x": F("x"), "pipe": F("x"), "other": F("x")})
    source = tree({"d": D, "d/e": D, "pipe": S}, unreadable=("d/e",))
    steps = make_plan(source, target, delete=True)
    assert told(steps) == ["unchanged d", "unchanged d/e", "delete other", "skip pipe"]
    assert steps[1].reason == "its content cannot be read: permission denied"
    assert told(make_plan(tree({}, unreadable=("",)), target, delete=True)) == []


def test_a_directory_of_unknown_content_is_not_deleted() -> None:
    target = tree({"d": D, "d/e": D, "f": F("x")}, unreadable=("d/e",))
    assert told(make_plan(tree({}), target, delete=True)) == ["delete f"]
    assert told(make_plan(tree({"d": D, "d/e": F("x")}), target, delete=True))[1] == "conflict d/e"


def test_what_is_left_out_is_not_deleted_at_the_other_end() -> None:
    source = tree({"d": D, "d/x": F("x"), "l": L("/etc")})
    target = tree({"d": D, "d/y": F("x"), "l": F("mine")})
    steps = make_plan(source, target, delete=True, left_out={"d": "so", "l": "so"})
    assert told(steps) == ["skip d", "skip l"]


# --- plans for made-up trees -----------------------------------------------------------------------------------------

_ENTRIES = st.sampled_from([F("x"), F("y"), F("xx"), F("x", 0o600), L("a"), L("b"), S, D, D])


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    directories = [""]
    for _ in range(draw(st.integers(0, 10))):
        parent, name = draw(st.sampled_from(directories)), draw(st.sampled_from("abc"))
        path = f"{parent}/{name}" if parent else name
        if path not in entries:
            entries[path] = draw(_ENTRIES)
            if entries[path] is D:
                directories.append(path)
    return entries


@given(trees(), trees(), st.booleans())
def test_carried_out_a_plan_gives_what_it_says(
    source: dict[str, Entry], target: dict[str, Entry], delete: bool
) -> None:
    steps = make_plan(tree(source), tree(target), delete=delete)
    assert [step.path for step in steps] == sorted({step.path for step in steps}, key=order)
    result = dict(target)
    for step in reversed(steps):
        if step.action == "delete":
            assert delete
            assert step.path not in source
            assert not any(step.path in ancestors(path) for path in result)
            del result[step.path]
    for step in steps:
        if step.action in {"create", "update", "mkdir", "symlink", "chmod"}:
            assert all(result[above].kind == "directory" for above in ancestors(step.path))
            if step.entry.kind != "directory":
                assert not any(step.path in ancestors(path) for path in result)
            result[step.path] = step.entry
    left = {step.path for step in steps if step.action in {"skip", "conflict"}}
    for path, entry in source.items():
        if not left & {path, *ancestors(path)}:
            assert result[path] == entry
    if delete and not left:
        assert result == source
    if not delete:
        assert set(target) <= set(result)


# --- what may come from a VM -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", ".", "..", "../a", "a/../b", "/a", "a//b", "a/", "a/.", "a\0b"])
def test_names_that_lead_elsewhere(path: str) -> None:
    assert unsafe_name(path) is not None


@pytest.mark.parametrize("path", ["a", "...", "a b", "-", "a\nb", "\udcff", "C:", "nul", "a\\b"])
def test_names_that_are_only_strange(path: str) -> None:
    assert unsafe_name(path) is None


@pytest.mark.parametrize(
    "path", ["C:", "a\\..\\b", "d/nul", "NUL.txt", "com1", "a.", "a ", "a:b", "a?", "a\nb", "\udcff", "..\\a"]
)
def test_names_that_windows_takes_otherwise(path: str) -> None:
    assert unsafe_name(path, windows=True) is not None


@pytest.mark.parametrize(
    ("path", "target", "outside"),
    [
        ("l", "a", False),
        ("l", "a/b", False),
        ("l", ".", False),
        ("l", "..", True),
        ("l", "/a", True),
        ("d/l", "..", False),
        ("d/l", "../a", False),
        ("d/l", "./../a", False),
        ("d/l", ".././a", False),
        ("d/l", "../..", True),
        ("d/l", "../../a", True),
        ("d/e/l", "../..", False),
        # Where a may be a symlink itself, `a/..` is not where it seems to be.
        ("l", "a/..", True),
        ("d/l", "a/../b", True),
        ("l", "a/../../b", True),
        ("l", "a:b", False),
        ("l", "..a", False),
    ],
)
def test_symlinks_that_lead_out(path: str, target: str, outside: bool) -> None:
    assert leads_outside(path, target) is outside


def test_symlinks_that_lead_out_on_windows() -> None:
    assert leads_outside("l", "C:\\Windows", windows=True)
    assert leads_outside("l", "..\\x", windows=True)
    assert not leads_outside("l", "a/b", windows=True)


def test_what_does_not_come_from_a_vm() -> None:
    remote = tree({"C:": D, "C:/nul": F("x"), "abs": L("/etc"), "in": L("x")})
    assert set(not_to_be_taken(remote, links=False, windows=False)) == {"abs"}
    assert set(not_to_be_taken(remote, links=True, windows=False)) == set()
    assert set(not_to_be_taken(remote, links=True, windows=True)) == {"C:"}


# --- patterns --------------------------------------------------------------------------------------------------------


def test_patterns_are_those_of_git() -> None:
    patterns = ["*.pyc", "/build/", "docs/*.txt", "!docs/keep.txt", "# a comment", "", "logs/"]
    remote = tree(
        {
            "a.pyc": F("x"),
            "build": D,
            "build/x": F("x"),
            "docs": D,
            "docs/a.txt": F("x"),
            "docs/keep.txt": F("x"),
            "logs": F("a file"),
            "src": D,
            "src/build": D,
            "src/logs": D,
            "src/logs/x": F("x"),
            "src/x.pyc": D,
            "src/x.pyc/y": F("x"),
        }
    )
    left = without_ignored(remote, compile_patterns(patterns))
    assert list(left.entries) == ["docs", "docs/keep.txt", "logs", "src", "src/build"]
    assert left.ignored == {"a.pyc", "build", "docs/a.txt", "src/logs", "src/x.pyc"}


def test_names_that_a_vm_need_not_look_into() -> None:
    assert hidden_names([".git/", "node_modules", "*.pyc", "/x", "a b", "dist/ "]) == [".git", "dist", "node_modules"]
    assert hidden_names([".git/", "!.git"]) == []


@pytest.mark.parametrize("given", ["*.pyc", b"x", 5, None, [b"x"], ["a\nb"], [None]])
def test_what_are_no_patterns(given: object) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_patterns(given)
    assert caught.value.argument == "ignore"


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(InvalidArgumentError):
        compile_patterns(["!"])


def test_without_the_library_patterns_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pathspec", None)
    assert compile_patterns(["", "# nothing"])("a", False) is False
    with pytest.raises(ConfigurationError, match=r"arker-async\[files\]"):
        compile_patterns(["*.pyc"])
