"""What is compared: methods of one preset, and variants of it by name."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmt.config import Config
from dmt.config_files import config_hash, load_config
from dmt.errors import ConfigError

VARIANT = re.compile(r"(?P<name>[^:=]+):\s*(?P<changes>\S+=.*)", re.DOTALL)
CHANGE = re.compile(r"\s+(?=[A-Za-z_][\w.]*=)")
"""Blanks between changes: those before `key.path=`, so that a value may hold blanks."""


@dataclass(frozen=True)
class Candidate:
    """One line of the comparison.

    Attributes:
        name: what tables call it.
        source: a preset's name or a YAML file.
        changes: `key.path=value`, on top of the source.
    """

    name: str
    source: str
    changes: tuple[str, ...] = ()

    def config(self, seed: int) -> Config:
        """The config of its run with this seed.

        Raises:
            ConfigError: with a line for each thing that is wrong.
        """
        return load_config(self.source, [*self.changes, f"seed={seed}"])


def candidates_of(
    source: str, methods: Sequence[str], variants: Sequence[str] = (), *, changes: Sequence[str] = ()
) -> list[Candidate]:
    """The methods, then the variants, all on one preset or file.

    Args:
        source: a preset's name or a YAML file.
        methods: names from `dmt list methods`; none = the source's own.
        variants: `NAME: key.path=value key.path=value`.
        changes: of all candidates.

    Raises:
        ConfigError: a variant that cannot be read, a name that is given twice, or two names for the same run.
    """
    for change in [*changes, *itertools.chain.from_iterable(_changes(text) for text in variants)]:
        if change.partition("=")[0].strip() == "seed":
            raise ConfigError(f"Found {change}: seeds are named by --seeds, the same ones for all that is compared.")
    own = methods or [load_config(source, changes).method]
    found = [Candidate(method, source, (*changes, f"method={method}")) for method in own]
    found += [_variant(source, text, changes) for text in variants]
    names: dict[str, str] = {}
    for candidate in found:
        key = config_hash(candidate.config(0))
        if candidate.name in names.values() or key in names:
            other = f", the same run as {names[key]}" if key in names and names[key] != candidate.name else ""
            raise ConfigError(f"{candidate.name} is given twice{other}. Give each method and variant once.")
        names[key] = candidate.name
    return found


def _variant(source: str, text: str, changes: Sequence[str]) -> Candidate:
    return Candidate(_parts(text)["name"].strip(), source, (*changes, *_changes(text)))


def _changes(text: str) -> list[str]:
    return CHANGE.split(_parts(text)["changes"].strip())


def _parts(text: str) -> re.Match[str]:
    match = VARIANT.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"--variant: found {text!r}. Write a name, a colon, and changes: 'scratch: start=scratch'.")
    return match


def parse_seeds(text: str) -> list[int]:
    """`0..4` or `0,1,5`, also mixed; in the order given, each once.

    Raises:
        ConfigError: anything else.
    """
    seeds: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?", part)
        if ends is None or (ends[2] and int(ends[2]) < int(ends[1])):
            raise ConfigError(f"--seeds: found {text!r}. Give whole numbers from 0: 0..4, or 0,1,5.")
        seeds.extend(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return list(dict.fromkeys(seeds))


def run_folder(folder: Path, config: Config) -> Path:
    """Where a candidate's run of one seed is kept: the same settings find their run again, whatever they are called."""
    return folder / f"{config.method}-seed{config.seed}-{config_hash(config)[:8]}"
