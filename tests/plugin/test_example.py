"""The sample project, copied into an empty directory: ten tests of real VMs."""

from __future__ import annotations

import shutil

import pytest

from tests.plugin.conftest import ROOT, Run


def test_the_sample_project(run: Run, pytester: pytest.Pytester) -> None:
    project = pytester.path / "project"
    shutil.copytree(ROOT / "examples/testing", project)
    ended = run("", "--rootdir=project", "project", conftest="", autoload=True)
    ended.assert_outcomes(passed=10)
    ended.stdout.fnmatch_lines(["*10 passed*"])
