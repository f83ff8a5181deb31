"""What the documentation tells a reader to type."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """The words, without `dmt`, of each line of a page that calls the program; what follows a # is for the reader."""
    blocks = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    lines = [line for language, text in blocks if not language for line in text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("dmt ")]
