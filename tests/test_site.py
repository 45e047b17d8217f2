"""The checks of the docs' site: of links, of examples in docstrings, of the sessions that workflows name."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from tools.site.docstrings import examples, marked
from tools.site.drawings import FOLLOWS, MODES, fixed, ill_coloured
from tools.site.links import broken, broken_in_markdown
from tools.site.names import homes

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ('<a href="b.html#there">b</a><img src="_static/x.svg"><a href="https://example.com/">c</a>', []),
        ('<a href="c.html">c</a>', ["a.html:1: c.html is not there"]),
        ('<a href="b.html#gone">b</a>', ["a.html:1: b.html#gone has no such place"]),
        ('<a href="#gone">b</a>', ["a.html:1: #gone has no such place"]),
        ('<a href="../other.html">b</a>', ["a.html:1: ../other.html is not there"]),
        ('<script src="https://cdn.example/x.js">', ["a.html:1: loads https://cdn.example/x.js from elsewhere"]),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', ["a.html:1: loads //cdn.example/x.css from elsewhere"]),
    ],
)
def test_links_of_a_site(tmp_path: Path, text: str, faults: list[str]) -> None:
    site = tmp_path / "site"
    (site / "_static").mkdir(parents=True)
    (site / "_static/x.svg").touch()
    (tmp_path / "other.html").touch()
    (site / "a.html").write_text(text)
    (site / "b.html").write_text('<h1 id="there">b</h1>')
    (tmp_path / "link").symlink_to(site)
    assert list(broken(tmp_path / "link")) == list(broken(site))
    found = list(broken(site))
    assert [fault for fault in found if "//" not in fault or "loads" in fault][: len(faults)] == faults
    assert bool(found) == bool(faults)


def test_links_of_markdown(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#x) [b](https://example.com/) [c](gone.md)\n![d](gone.svg)\n")
    assert list(broken_in_markdown(page)) == ["page.md:1: gone.md is not there", "page.md:2: gone.svg is not there"]


DRAWN = "<svg><style>a{fill:#fff}@media screen and (prefers-color-scheme:dark){a{fill:#000} b{fill:#111}}</style></svg>"


def test_a_drawing_is_fixed_in_either_mode() -> None:
    assert fixed(DRAWN, "light") == "<svg><style>a{fill:#fff}</style></svg>"
    assert fixed(DRAWN, "dark") == "<svg><style>a{fill:#fff}a{fill:#000} b{fill:#111}</style></svg>"


@pytest.mark.parametrize("path", sorted((ROOT / "docs/diagrams").glob("*.svg")), ids=lambda path: path.stem)
def test_each_drawing_has_two_forms_or_needs_one(path: Path) -> None:
    drawing = path.read_text()
    assert (FOLLOWS in drawing) == path.with_suffix(".d2").exists()
    forms = [fixed(drawing, mode) for mode in MODES]
    assert not any(FOLLOWS in form for form in forms)
    assert (forms[0] != forms[1]) == (FOLLOWS in drawing)
    for form in forms:
        ElementTree.fromstring(form)


def test_drawings_that_do_not_follow_the_theme_are_faults(tmp_path: Path) -> None:
    (tmp_path / "two.svg").write_text(DRAWN)
    (tmp_path / "a-dark.svg").write_text(fixed(DRAWN, "dark"))
    (tmp_path / "a.html").write_text('<img src="two.svg">\n<img class="only-dark" src="a-dark.svg"><img src="b.png">')
    assert list(ill_coloured(tmp_path)) == [
        "a.html:1: two.svg follows the system's colour scheme, not the site's theme",
        "a.html: a is not shown in the light theme",
    ]


def test_examples_in_docstrings_are_marked_as_code() -> None:
    text = [
        "Do it.",
        "",
        "    await vm.run(1)",
        "",
        "    await vm.run(2)",
        "",
        "Args:",
        "    a: One.",
        "",
        "    b: Two.",
    ]
    assert examples(text) == ["await vm.run(1)\n\nawait vm.run(2)\n"]
    assert marked(text)[2:5] == [".. code-block:: python", "", "    await vm.run(1)"]
    assert marked(text)[-4:] == text[-4:]
    assert ".. code-block:: text" in marked(["Tree:", "", "    a", "    └── b"])


def test_every_public_name_has_a_home() -> None:
    names = homes("arker")
    assert names["AsyncVM"] == "arker.vm"
    assert names["Run"] == "arker.models.run"
    assert all(home.startswith("arker.") for home in names.values())


def test_workflows_run_sessions_that_there_are() -> None:
    sessions = set(re.findall(r"^def (\w+)\(session: nox", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert set(jobs["checks"]["strategy"]["matrix"]["session"]) <= sessions
    listed = re.findall(r"^PYTHONS = \[(.*)\]", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert jobs["tests"]["strategy"]["matrix"]["python"] == re.findall(r'"([0-9.]+)"', listed[0])


def test_no_secret_is_in_reach_of_a_pull_request() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text()
        workflow = yaml.safe_load(text)
        assert "secrets." not in text
        assert workflow["permissions"] == {}
        triggers = workflow[True]  # YAML 1.1 takes `on` for that
        assert "pull_request_target" not in triggers
        rights = [right for job in workflow["jobs"].values() for right in job["permissions"].values()]
        assert "write" not in rights or "pull_request" not in triggers


@pytest.mark.parametrize("folder", ["docs", "docs/api"])
def test_each_page_has_one_place_in_the_order(folder: str) -> None:
    index = (ROOT / folder / "index.md").read_text()
    listed = [
        line
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.MULTILINE | re.DOTALL)
        for line in tree.splitlines()
        if line and not line.startswith(":") and not line.startswith("api/")
    ]
    pages = (path.relative_to(ROOT / folder).with_suffix("").as_posix() for path in (ROOT / folder).rglob("*.md"))
    assert sorted(listed) == sorted(page for page in pages if page != "index" and not page.startswith("api/"))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_links_lead_to_the_versions_beside_a_site(tmp_path: Path) -> None:
    for version in ("latest", "v1"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "index.html").write_text(
            '<a href="../v1/index.html">1</a><a href="../v2/index.html">2</a>'
        )
    latest = tmp_path / "latest"
    assert list(broken(latest, tmp_path)) == ["index.html:1: ../v2/index.html is not there"]
    assert len(list(broken(latest))) == 2
