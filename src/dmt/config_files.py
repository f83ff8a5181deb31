"""From YAML files, presets and `key.path=value` overrides to a `Config`, with every error told at once."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dmt.config import Config
from dmt.errors import ConfigError

WITHOUT_BEARING = ("checkpoint", "workers")
"""Keys that change no result: where a run's two starts differ in them, it is still the same run."""

PRESETS = resources.files("dmt") / "presets"


class _Loader(yaml.SafeLoader):
    """The safe loader, reading 1e-3 as a number as YAML 1.2 does, and refusing a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, quoting the text that `_Loader` would read as a number: a folder may be named 1e3."""


for _one in (_Loader, _Dumper):
    _one.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def parse_yaml(text: str, *, source: str) -> Any:
    """Plain values from YAML; `source` is named when it cannot be parsed."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # the second of what looks like a date and is none
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error


def dump_yaml(value: Any, *, flow: bool | None, width: int) -> str:
    """Plain values as YAML that `parse_yaml` reads back as they are.

    Args:
        value: what to write, keys in their order.
        flow: all on one line; None = the innermost lists and mappings alone.
        width: characters that a line has at most.
    """
    return yaml.dump(value, Dumper=_Dumper, default_flow_style=flow, width=width, allow_unicode=True, sort_keys=False)


def preset_names() -> list[str]:
    """All presets that ship with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in PRESETS.iterdir() if path.name.endswith(".yaml"))


def is_papers(preset: str) -> bool:
    """Whether a preset holds the paper's own settings, rather than what we recommend."""
    return preset.endswith("-paper")


def preset_text(name: str) -> str:
    """A preset's file as written, its header included."""
    if name not in preset_names():
        raise ConfigError(
            f"No preset or file is called {name!r}.{did_you_mean(name, preset_names())} See `dmt list presets`."
        )
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")


def load_config(source: str | Path | Mapping[str, Any] | Config, overrides: Iterable[str] = ()) -> Config:
    """The resolved config of a preset's name, a YAML file, a dict or a `Config`, with overrides applied.

    Args:
        source: a YAML file names only what differs from the defaults, or from the preset in its `extends` key.
        overrides: `key.path=value`, the value in YAML.

    Raises:
        ConfigError: with a line for each thing that is wrong.
    """
    if isinstance(source, Config):
        values: dict[str, Any] = source.model_dump()
        name = "config"
    elif isinstance(source, Mapping):
        values, name = dict(source), "config"
    else:
        values, name = _read(str(source)), str(source)
    replaced: set[str] = set()
    for override in overrides:
        _apply_override(values, override, replaced)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors()]
        raise ConfigError(
            "\n".join([f"{name}: {len(lines)} error{'s'[: len(lines) > 1]} in the config:", *lines])
        ) from None


def own_keys(source: str | Path | Mapping[str, Any] | Config) -> list[str]:
    """The dotted keys that a user's own file or mapping sets itself.

    There are none in a preset, which sets keys for those that extend it, and none in a `Config` or in the file of a
    run, which hold every key there is.
    """
    values: Mapping[str, Any] = {}
    if isinstance(source, Mapping):
        values = source
    elif not isinstance(source, Config) and Path(source).is_file():
        values = parse_yaml(Path(source).read_text(encoding="utf-8"), source=str(source))
    return [] if values.keys() >= Config.model_fields.keys() else list(_dotted(values))


def dump_config(config: Config) -> str:
    """The whole resolved config as YAML."""
    return dump_yaml(config.model_dump(), flow=None, width=120)


def config_hash(config: Config) -> str:
    """Names a config in manifests: two runs agree in every setting that bears on results when their hashes agree.

    Defaults are left out: a key that a later version brings does not estrange the run folders of an earlier one.
    """
    values = config.model_dump(exclude=set(WITHOUT_BEARING), exclude_defaults=True)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing when no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def _read(source: str) -> dict[str, Any]:
    """The values of a preset or file on top of those it extends."""
    path = Path(source)
    is_file = path.suffix in {".yaml", ".yml"} or path.is_file()
    if path.is_dir() and source not in preset_names():
        raise ConfigError(
            f"{source} is a folder, and no preset or config file; `dmt init {source}` writes a config for its images."
        )
    if is_file and not path.is_file():
        raise ConfigError(
            f"The config file {source} does not exist. Give a YAML file or a name from `dmt list presets`."
        )
    try:
        text = path.read_text(encoding="utf-8") if is_file else preset_text(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The config file {source} cannot be read: {error}") from error
    values = parse_yaml(text, source=source)
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds {_kind(values)}; a config is a mapping of keys to values.")
    changes = dict(values)
    base = changes.pop("extends", None)
    if base is None:
        return changes
    if not isinstance(base, str) or base not in preset_names():
        raise ConfigError(f"extends in {source} is {base!r}; it must be a name from `dmt list presets`.")
    return _merge(_read(base), changes)


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        # A duration is replaced as a whole: `steps` over `epochs` would leave both.
        if isinstance(below, dict) and isinstance(value, dict) and key not in {"duration", "supervised"}:
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _apply_override(values: dict[str, Any], override: str, replaced: set[str]) -> None:
    """Set one key; the first override of a duration replaces it as a whole and is noted in `replaced`."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r} is not an override; write key.path=value, for instance seed=3.")
    *parents, last = key.strip().split(".")
    section = values
    for parent in parents:
        below = section.get(parent)
        is_fresh = parent in {"duration", "supervised"} and parent not in replaced
        section[parent] = dict(below) if isinstance(below, dict) and not is_fresh else {}
        replaced.add(parent)
        section = section[parent]
    try:
        section[last] = parse_yaml(text, source=f"the override {key}")
    except ConfigError as error:
        if text.lstrip()[:1] not in ("[", "{"):
            raise
        raise ConfigError(f"{error} Where there are blanks in it, put it in quotes: '{key}=[0.5, 1.0]'.") from error


def _explain(detail: ErrorDetails) -> str:
    """One line: dotted key, what was found, what is allowed."""
    location = [part for part in detail["loc"] if not str(part).startswith(("function-", "constrained-"))]
    key = ".".join(str(part) for part in location)
    found = detail["input"]
    if detail["type"] == "extra_forbidden":
        siblings = list(_section_at(location[:-1]).model_fields)
        elsewhere = " or ".join(repr(path) for path in _paths_to(str(location[-1]), Config))
        meant = f" Did you mean {elsewhere}?" if elsewhere else did_you_mean(str(location[-1]), siblings)
        known = f" Known here: {', '.join(siblings)}."
        return f"  {key}: unknown key.{meant or known}"
    if detail["type"] == "missing":
        return f"  {key}: missing; it has no default."
    if detail["type"] == "value_error":
        return f"  {f'{key}: ' if key else ''}{detail['ctx']['error']}."
    if detail["type"] == "literal_error":
        return f"  {key}: found {found!r}, allowed is {detail['ctx']['expected']}.{_near_literal(found, detail)}"
    hint = f" For instance [{found}]." if detail["type"] == "list_type" and isinstance(found, int | float) else ""
    if detail["type"] == "string_type" and isinstance(found, bool | int | float | date):
        hint = " Where it is a name, put it in quotes, in a shell in two kinds of them: '\"1\"'."
    return f"  {key}: found {found!r} ({_kind(found)}); {detail['msg'].removeprefix('Input ')}.{hint}"


def _near_literal(found: Any, detail: ErrorDetails) -> str:
    return did_you_mean(str(found), re.findall(r"'([^']*)'", detail["ctx"]["expected"]))


def _section_at(location: list[int | str]) -> type[BaseModel]:
    """The section class that a location leads to."""
    section: type[BaseModel] = Config
    for part in location:
        annotation = section.model_fields[str(part)].annotation if str(part) in section.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), section)
    return section


def _paths_to(name: str, section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys that end with a name."""
    for key in section.model_fields:
        if key == name:
            yield f"{prefix}{key}"
        below = _section_at([*prefix.split(".")[:-1], key])
        if below not in (section, Config):
            yield from _paths_to(name, below, f"{prefix}{key}.")


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true/false", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
