"""Programs that a test starts in a process of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def child(arguments: Sequence[str | os.PathLike[str]], **options: Any) -> Generator[subprocess.Popen[Any], None, None]:
    """Start a program, and wait for its end after the block, which has to bring it about. Kill it if the block fails.

    `subprocess.Popen` would wait then, too: for a program that nothing ends, while the reason is lost.
    """
    with subprocess.Popen(arguments, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
