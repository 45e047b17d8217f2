"""The state directory: made under a name that nobody can guess, and removed whatever a VM has left in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

_PATIENCE = 3.0  # seconds; processes that have just been killed may still be writing


def make_state_dir(parent: Path | None) -> Path:
    """A new state directory. A VM's user may pass through it (to its own files), but not list it."""
    path = Path(tempfile.mkdtemp(prefix="arker-emulator-", dir=parent))
    path.chmod(0o711)
    return path


def remove_state_dir(path: Path) -> None:
    """Remove the directory with everything in it; a directory that has gone already is fine.

    Raises:
        OSError: It could not be removed.
    """
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return
        except (OSError, RecursionError):
            # Directories without permission bits, or nested deeper than Python recurses.
            for command in (["chmod", "-R", "u+rwX", "--", str(path)], ["rm", "-rf", "--", str(path)]):
                subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not os.path.lexists(path):
            return
        if time.monotonic() > give_up:
            raise OSError(f"the state directory {path} could not be removed")
        time.sleep(0.05)
