"""Command lines as other programs have them."""

from __future__ import annotations

import pytest

from arker._cli.guesses import ELSEWHERE
from arker._cli.names import PLAIN, WITH_EXTRA
from tests.command_line.support import Program


def test_each_word_of_another_program_leads_to_a_command() -> None:
    assert set(ELSEWHERE.values()) <= {*PLAIN, *WITH_EXTRA}
    assert not set(ELSEWHERE) & {*PLAIN, *WITH_EXTRA, "help", "version"}


@pytest.mark.parametrize(
    ("words", "status", "wanted"),
    [
        (("exec", "web", "--", "ls"), 2, '"exec": use arker run ('),
        (("ps",), 2, '"ps": use arker ls ('),
        (("ssh", "web"), 2, "use arker shell"),
        (("port-forward", "web", "80"), 2, "use arker tunnel"),
        (("run", "web", "ls", "-la"), 125, "-la. -l is not a recognized option; write -- before the command"),
        (("run", "web", "grep", "-i", "x"), 125, "write -- before the command"),
        (("run", "-it", "web", "ls"), 125, "arker shell VM is a terminal"),
        (("run", "web", "-t", "ls"), 125, "arker shell VM is a terminal"),
        (("ls", "web"), 2, "Expected fewer arguments, got also web."),
        (("cp", "--ignroe", "x", "site", "web:"), 2, "Unknown option: --ignroe."),
        (("ls", "--quiet", "--json"), 2, "does not go with"),
        (("help", "nothing"), 2, '"nothing"'),
    ],
)
def test_what_would_be_right(bare: Program, words: tuple[str, ...], status: int, wanted: str) -> None:
    assert wanted in bare.bad(status, *words)


def test_a_misspelt_option_is_not_taken_for_one_of_the_command_in_the_vm(bare: Program) -> None:
    message = bare.bad(125, "run", "web", "--timout", "3", "--", "ls")
    assert "--timeout" in message
    assert "write --" not in message


def test_help_and_version_as_commands(bare: Program) -> None:
    assert bare.good("help") == bare.good("--help")
    assert bare.good("help", "run") == bare.good("run", "--help")
    assert bare.good("help", "doctor") == bare.good("doctor", "--help")
    assert bare.good("-V") == bare.good("version") == bare.good("--version")


def test_ids_alone(arker_program: Program, web: str) -> None:
    other = arker_program.good("fork", "ubuntu").strip()
    assert arker_program.good("ls", "-q") == f"{other}\n{web}\n"
    assert set(arker_program.good("rm", other, web).split()) == {other, web}
    assert arker_program.good("ls", "-q") == ""


def test_a_directory_is_copied_with_r(arker_program: Program, web: str) -> None:
    (arker_program.cwd / "site").mkdir()
    (arker_program.cwd / "site" / "index").write_text("hello")
    arker_program.good("cp", "-r", "site", "web:/tmp/")
    assert arker_program.good("cp", "web:/tmp/site/index", "-") == "hello"
