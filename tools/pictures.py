"""Make the docs' pictures: ``python -m tools.pictures``, what ``nox -s pictures`` runs.

The drawings are made from ``docs/diagrams/*.d2`` by d2; the moving picture of the quickstart from what it prints,
with the times at which it printed it; that of the command line from what a session of it shows.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tools import recording

ROOT: Final = Path(__file__).parents[1]
DIAGRAMS: Final = ROOT / "docs" / "diagrams"
COMMAND: Final = "python examples/quickstart.py"
WIDTH, LINE, CHARACTER, MARGIN = 920, 21, 8.43, 18
HOLD: Final = 6.0
"""Seconds that the whole picture stands before it begins again."""
SLOWEST: Final = 1.2
"""Seconds at most between two lines: a picture is not the place to wait."""


def draw() -> None:
    """Make the drawings."""
    for source in sorted(DIAGRAMS.glob("*.d2")):
        target = source.with_suffix(".svg")
        command = ["d2", "--theme=0", "--dark-theme=200", "--pad=16", "--no-xml-tag", str(source), str(target)]
        subprocess.run(command, check=True)
        target.chmod(0o644)


def record() -> list[tuple[float, str]]:
    """Run the quickstart. Return its lines, each with the seconds since the one before."""
    lines: list[tuple[float, str]] = []
    before = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-u", *COMMAND.split()[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            now = time.monotonic()
            lines.append((now - before, line.rstrip("\n")))
            before = now
    if program.returncode != 0:
        raise SystemExit("the quickstart has failed")
    return lines


def moving(lines: list[tuple[float, str]]) -> str:
    """Return an SVG in which the lines come one by one, again and again."""
    moments: list[tuple[float, str, str]] = [(0.0, "prompt", f"$ {COMMAND}")]
    now = 0.8
    for waited, line in lines:
        now += max(0.12, min(waited, SLOWEST))
        moments.append((now, "line", re.sub(r"\(set ARKER_API_KEY.*\)", "", line)))
    length = now + HOLD
    height = MARGIN * 2 + LINE * len(moments)
    rules: list[str] = []
    texts: list[str] = []
    for number, (moment, kind, text) in enumerate(moments):
        shown = 100 * moment / length
        rules.append(f"@keyframes l{number}{{0%,{shown:.2f}%{{opacity:0}}{shown + 0.01:.2f}%,100%{{opacity:1}}}}")
        style = "" if number == 0 else f' style="animation:l{number} {length:.2f}s infinite"'
        y = MARGIN + LINE * (number + 1) - 6
        head, tail = re.match(r"^( *[0-9.]+ ms )?(.*)$", text).groups("")  # type: ignore[union-attr]
        inner = (f'<tspan class="time">{html.escape(head)}</tspan>' if head else "") + html.escape(tail)
        texts.append(f'<text class="{kind}" x="{MARGIN}" y="{y}"{style}>{inner}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>The quickstart: fork a VM, run Python in it, move files, fork it again, fan out</title>",
            "<style>",
            "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}",
            "text{fill:#d7dce2;white-space:pre}",
            ".prompt{fill:#8be9a8}.time{fill:#7fb4ff}",
            *rules,
            "@media (prefers-reduced-motion: reduce){text{animation:none!important}}",
            "</style>",
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#14181d"/>',
            *texts,
            "</svg>",
            "",
        ]
    )


def main() -> None:
    """Make all pictures."""
    draw()
    (DIAGRAMS / "quickstart.svg").write_text(moving(record()), encoding="utf-8")
    (DIAGRAMS / "cli.svg").write_text(recording.record(), encoding="utf-8")


if __name__ == "__main__":
    main()
