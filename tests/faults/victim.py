"""The command `dmt`, but killed without warning around a rename: `python victim.py before|after N ARGUMENTS...`.

Everything that a run writes becomes visible by a rename, so these are the moments at which half a state could be left.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

moment, number = sys.argv[1], int(sys.argv[2])
sys.argv[1:3] = []
rename, count = Path.replace, 0


def deadly(self: Path, target: Any) -> Path:
    """Rename, and die at the chosen one."""
    global count  # noqa: PLW0603 - a script of its own
    count += 1
    if count == number and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    renamed = rename(self, target)
    if count == number and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return renamed


Path.replace = deadly  # type: ignore[method-assign,assignment]

from dmt.cli.main import main  # noqa: E402

main()
