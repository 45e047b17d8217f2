"""``arker doctor``: what is configured and where it comes from, and whether the embedded backend works here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from arker._basics.shown import shown
from arker._basics.version import version
from arker._cli import running, statuses
from arker._cli.names import EXTRA
from arker.config import explain_settings
from arker.emulator.examination import Finding, examine

_MARKS: Final = {"ok": "ok", "less": "--", "no": "NO"}
_EXTRAS: Final = (
    ("cli", "cyclopts", "the other commands of this program"),
    ("files", "pathspec", "patterns for directories"),
    ("rich", "rich", "the progress bar"),
    ("otel", "opentelemetry", "tracing and metrics"),
)


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns exit status 1 if the backend does not work here, or the configuration is invalid."""
    parser = argparse.ArgumentParser(
        prog="arker doctor", description="Say what is configured, and whether the embedded backend works here."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return running.run(_doctor(as_json=parser.parse_args(arguments).json))


async def _doctor(*, as_json: bool) -> int:
    settings = explain_settings()
    findings = [*_package(), *await examine()]
    works = all(each.verdict != "no" for each in findings)
    status = statuses.DONE if works and settings.is_valid else statuses.FAILED
    if as_json:
        told = {
            "configuration": [
                {"name": name, "value": value, "origin": origin} for name, value, origin in settings.rows
            ],
            "problem": settings.words,
            "findings": [{"part": each.part, "verdict": each.verdict, "words": each.words} for each in findings],
        }
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return status
    lines = ["Configuration"]
    lines += [f"  {name:<17} {shown(value)}  ({shown(origin)})" for name, value, origin in settings.rows]
    lines += [f"  {shown(settings.words or 'complete')}", "", "Embedded backend"]
    lines += [f"  {_MARKS[each.verdict]}  {each.part:<16} {shown(each.words, lines=True)}" for each in findings]
    lines.append(f"  {'It works here: try --local.' if works else 'It does not work here.'}")
    sys.stdout.write("\n".join([*lines, ""]))
    return status


def _package() -> list[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    found = [Finding("package", "ok", f"arker-async {version()}, Python {python}")]
    for extra, module, use in _EXTRAS:
        if find_spec(module) is not None:
            found.append(Finding(f"extra {extra}", "ok", use))
        else:
            found.append(Finding(f"extra {extra}", "less", f"without {use}: {EXTRA.replace('cli', extra)}"))
    return found


__all__ = ["main"]
