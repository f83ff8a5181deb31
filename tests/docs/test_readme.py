"""The README's transcript is of the preset as it stands."""

import re
from pathlib import Path

from dmt.config_files import config_hash, load_config

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_run_folder_is_that_of_the_preset() -> None:
    (shown,) = re.findall(r"runs/digits-20/dmt-seed0-([0-9a-f]{6}),", README)
    assert shown == config_hash(load_config("digits-20"))[:6], "run `dmt demo` again, and paste what it prints"


def test_the_figures_of_the_transcript_agree() -> None:
    before, after, gain = re.findall(
        r"helped: ([\d.]+) % with the labels alone, ([\d.]+) % .*\(\+([\d.]+) points", README
    )[0]
    assert f"{float(after) - float(before):.1f}" == gain
    assert f"│ supervised                │              │               │               │        {before} % │" in README
