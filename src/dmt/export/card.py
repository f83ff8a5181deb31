"""The model card: what a folder with a trained model is, for whoever finds it, as its README.md."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from dmt.models.description import Description

_PIPELINES = {"classification": "image-classification", "segmentation": "image-segmentation"}
_FIGURES = ("accuracy", "fine_grained_accuracy", "mean_iou", "pixel_accuracy")
_ROWS = {
    "supervised": "the labels alone (baseline)",
    "last_round": "last round",
    "ensemble": "networks of the last round together",
    "final": "picked network",
}


def model_card(description: Description, *, onnx: str = "") -> str:
    """Markdown with a head of YAML, as model hubs read it.

    Args:
        description: of the model.
        onnx: what is to be said of the ONNX file beside it; empty where there is none.
    """
    sections = [
        _head(description),
        _intro(description),
        onnx or _use(description),
        _figures(description),
        _data(description),
        _limits(description),
    ]
    return "\n".join(sections)


def _head(description: Description) -> str:
    values: dict[str, Any] = {"library_name": "dmt-ssl", "pipeline_tag": _PIPELINES[description.task]}
    values["tags"] = ["semi-supervised-learning", "dynamic-mutual-training"]
    if description.license is not None:
        # On one line: what reads such heads looks for the line that ends them first.
        values = {"license": " ".join(description.license.split()), **values}
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _intro(description: Description) -> str:
    network = description.networks[description.picked]
    what = "says one class an image" if description.task == "classification" else "says a class for every pixel"
    classes = ", ".join(_plain(name) for name in description.class_names)
    return (
        f"# {_plain(network.name)} on {_plain(description.data.get('dataset', 'images'))}\n\n"
        f"A network that {what}, trained with {_plain(description.written_by)} from few labels and many images "
        f"({_plain(network.what)} of the run).\n\n"
        f"- **Classes** ({len(description.class_names)}): {classes}\n"
        f"- **Input**: {_input(description)}\n"
        f"- **License** of the weights: {_plain(description.license or 'not stated')}\n"
    )


def _input(description: Description) -> str:
    seen = description.input
    kinds = {1: "gray images", 3: "RGB images"}
    text = kinds.get(seen.channels, f"images of {seen.channels} bands")
    if seen.value_range is not None:
        text += f", values {seen.value_range[0]:g} to {seen.value_range[1]:g}"
    if seen.exif_orientation:
        text += ", turned as their EXIF asks"
    if seen.image_size is not None:
        text += f", resized to {seen.image_size[0]} x {seen.image_size[1]} (height x width)"
    return f"{text}; the normalization is part of the network"


def _use(description: Description) -> str:
    return (
        "## Use\n\n```python\nimport dmt\n\n"
        'model = dmt.load("this-folder")\n'
        'answers = model.predict(["image.png"])\n'
        f"print(answers[0].label, answers[0].confidence)  # of {len(description.class_names)} classes\n```\n\n"
        "Or `dmt predict this-folder images -o output`. Weights are safetensors; nothing in this folder is unpickled.\n"
    )


def _figures(description: Description) -> str:
    tables = [_table("on the test part, %", description.metrics)]
    by_validation = description.metrics.get("validation")
    if isinstance(by_validation, Mapping) and (table := _table("on the validation labels, %", by_validation)):
        note = "These labels chose between the networks, and so flatter the one that they picked."
        tables.append(f"{table}\n{note}\n")
    shown = "\n".join(filter(None, tables))
    return "## Figures\n\n" + (shown or "None: the run had neither a test part nor validation labels.\n")


def _table(title: str, metrics: Mapping[str, Any]) -> str:
    """A line for each kind of network that has figures; empty where none has."""
    rows = [(words, metrics.get(key)) for key, words in _ROWS.items()]
    found = [(words, row) for words, row in rows if isinstance(row, Mapping) and any(name in row for name in _FIGURES)]
    if not found:
        return ""
    names = [name for name in _FIGURES if any(name in row for _, row in found)]
    lines = [f"| {title} | {' | '.join(name.replace('_', ' ') for name in names)} |"]
    lines.append(f"|---|{'---|' * len(names)}")
    lines += [f"| {words} | {' | '.join(_number(row.get(name)) for name in names)} |" for words, row in found]
    return "\n".join(lines) + "\n"


def _data(description: Description) -> str:
    facts = [f"- {key.replace('_', ' ')}: {_plain(value)}" for key, value in _facts(description)]
    return "## Training\n\n" + "\n".join(facts) + "\n"


def _facts(description: Description) -> Iterator[tuple[str, Any]]:
    for key, value in (description.data | description.training).items():
        if isinstance(value, Mapping):
            yield key, ", ".join(str(one) for one in value.values())
        else:
            yield key, value


def _limits(description: Description) -> str:
    few = description.data.get("num_labeled")
    return (
        "## Limits\n\n"
        f"It knows its {len(description.class_names)} classes alone and says one of them of any image whatsoever. It "
        f"learned from {few if few is not None else 'few'} labeled images; images that look otherwise than those of "
        "its training may be answered wrongly and with confidence. `dmt evaluate` measures it on labels of your own, "
        "calibration included.\n"
    )


def _number(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, int | float) else ""


def _plain(value: Any) -> str:
    """Text on one line that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>|#" else letter for letter in " ".join(str(value).split()))
