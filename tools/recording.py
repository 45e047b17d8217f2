"""Record a session of the command line as a picture: ``docs/diagrams/cli.svg``.

Each command runs at a terminal of its own, on an embedded backend, and what it shows there is drawn by rich.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from arker.emulator import Emulator

COLUMNS: Final = 104
TITLE: Final = "A VM is forked, used by name, copied from and deleted"
SESSION: Final = (
    "arker fork ubuntu --name web --memory 2G",
    "arker run web -- sh -c 'uname -sm; nproc > facts'",
    "echo 'from a pipe' | arker run web -- tr a-z A-Z",
    "arker cp web:facts -",
    "arker snapshot web checkpoint",
    "arker ls",
    "arker run web --timeout 1s -- sleep 60; echo $?",
    "arker rm web checkpoint",
)
"""The commands of the picture."""
BACKGROUND, TEXT = (20, 24, 29), (215, 220, 226)
THEME: Final = TerminalTheme(
    BACKGROUND,
    TEXT,
    [
        *(BACKGROUND, (240, 113, 120), (139, 233, 168), (255, 203, 107)),
        *((127, 180, 255), (199, 146, 234), (137, 221, 255), TEXT),
    ],
)
SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>TITLE</title>
<style>
.{unique_id}-matrix {{
  font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="#14181d"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""What rich fills: without a window's frame, and without a font that would have to be fetched."""


def shown(command: str, env: Mapping[str, str], directory: str) -> str:
    """Return what a command shows at a terminal."""
    screen, terminal = pty.openpty()
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with subprocess.Popen(
        ["/bin/sh", "-c", f'arker() {{ {shlex.quote(sys.executable)} -m arker "$@"; }}; {command}'],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=env,
        cwd=directory,
    ) as process:
        os.close(terminal)
        pieces: list[bytes] = []
        try:
            while piece := os.read(screen, 65536):
                pieces.append(piece)
        except OSError:  # how Linux tells that the other end of a terminal is closed
            pass
        os.close(screen)
    if process.returncode != 0:
        raise SystemExit(f"{command}: exit status {process.returncode}")
    return b"".join(pieces).decode().replace("\r\n", "\n")


def record(session: Sequence[str] = SESSION) -> str:
    """Run the session. Return the picture."""
    with open(os.devnull, "w") as nothing:
        console = Console(record=True, width=COLUMNS, file=nothing, force_terminal=True, color_system="truecolor")
        with Emulator() as emulator, tempfile.TemporaryDirectory() as directory:
            urls = dict.fromkeys(("ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_CONTROL_BASE_URL"), emulator.url)
            env = {**os.environ, **urls, "ARKER_API_KEY": emulator.api_key, "TERM": "xterm-256color"}
            env["PYTHONPATH"] = str(Path(__file__).parents[1])
            for command in session:
                console.print(Text.assemble(("$ ", "green"), (command, "bold")))
                console.print(Text.from_ansi(shown(command, env, directory).rstrip("\n")), soft_wrap=True)
        picture = console.export_svg(title=TITLE, theme=THEME, code_format=SVG, unique_id="cli")
    return re.sub(r"[ \t]+$", "", picture.replace("TITLE", TITLE), flags=re.MULTILINE)


__all__ = ["record"]
