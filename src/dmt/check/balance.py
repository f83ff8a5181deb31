"""What the counts of the parts tell: classes without labels, rare classes, mixed sizes and modes."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from dmt.check.findings import Findings
from dmt.check.places import Place
from dmt.config import Config
from dmt.methods import build_method

IMBALANCE = {"classification": 10, "segmentation": 100}
"""Largest to smallest class from which labels count as out of balance; pixels of small things are always few."""
_FEW_LABELS = 3
"""Labels of a class below which its pseudo labels stand on next to nothing."""

_HOW_UPRIGHT = {
    "classification": "data.exif_orientation=true turns them.",
    "segmentation": "data.exif_orientation=true turns them, and leaves masks as they are: for masks that fit them "
    "upright.",
}


def find_imbalance(config: Config, places: Mapping[str, Place], findings: Findings) -> None:
    """Note classes that labels show seldom or never, and parts to be scored on that lack some."""
    for part in ("labeled", "validation", "test"):
        if part in places:
            _missing_classes(places[part], config, findings)
    if "labeled" not in places:
        return
    labeled = places["labeled"]
    _tell_ratio(config, labeled, findings)
    _tell_growth(config, findings)
    if config.task == "classification":
        rare = [name for name, count in _by_class(labeled).items() if 0 < count < _FEW_LABELS]
        if rare:
            message = f"{_listed(rare)} {_have(rare)} fewer than {_FEW_LABELS} labels: pseudo labels will lean on them."
            findings.add("note", "few-labels", message, where=rare[0], count=len(rare))


def imbalance(counts: np.ndarray) -> float | None:
    """The largest class over the smallest that is there; None without labels."""
    present = counts[counts > 0]
    return float(present.max() / present.min()) if len(present) else None


def find_mixtures(config: Config, places: Mapping[str, Place], findings: Findings) -> None:
    """Note images stored in several ways or on their side, and images that resizing enlarges much or bends."""
    modes: Counter[str] = sum((place.modes for place in places.values()), start=Counter())
    if len(modes) > 1:
        told = ", ".join(f"{count:,} as {mode}" for mode, count in modes.most_common())
        message = f"Images are stored in {len(modes)} ways: {told}. All become {config.data.channels or 3} channels."
        findings.add("note", "several-modes", message, where=modes.most_common()[-1][0])
    rotated = sum(place.num_rotated for place in places.values())
    if rotated and not config.data.exif_orientation:
        message = (
            f"{rotated:,} files ask, by EXIF, to be shown in another orientation, which is not done: such photos lie "
            f"on their side. {_HOW_UPRIGHT[config.task]}"
        )
        findings.add("note", "rotated", message, where="EXIF", count=rotated)
    if config.data.image_size is None:
        return
    height, width = config.data.image_size
    sizes: Counter[tuple[int, int]] = sum((place.sizes for place in places.values()), start=Counter())
    bent = sum(n for (h, w), n in sizes.items() if not 1 / 2 <= (w / h) / (width / height) <= 2)
    if bent:
        message = (
            f"data.image_size={config.data.image_size} changes the proportions of {bent:,} images by a factor of two "
            "or more."
        )
        findings.add("note", "bent", message, where="data.image_size", count=bent)


def _missing_classes(place: Place, config: Config, findings: Findings) -> None:
    missing = [name for name, count in _by_class(place).items() if count == 0]
    is_sampled = place.is_dense and len(place.indices) < place.num_images
    if not missing or not place.is_counted or is_sampled:
        return
    if place.part == "labeled":
        message = f"No labeled image shows {_listed(missing)}: nothing teaches the network {_it(missing)}."
        if place.is_dense:
            message += f" Pixels of data.ignore_index={config.data.ignore_index} count nothing, whatever they show."
        findings.add("warning", "class-without-label", message, where=missing[0], count=len(missing))
    else:
        message = f"No {place.part} image shows {_listed(missing)}: its figures say nothing of {_it(missing)}."
        findings.add("note", f"class-not-in-{place.part}", message, where=missing[0], count=len(missing))


def _tell_ratio(config: Config, labeled: Place, findings: Findings) -> None:
    ratio = imbalance(labeled.counts)
    if ratio is None or ratio < IMBALANCE[config.task] or config.loss.class_balance is not None:
        return
    counts = {name: count for name, count in _by_class(labeled).items() if count}
    rounds = ", best with one round on all pixels (rounds.top_fractions=[1.0])" if _may_grow(config) else ""
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    sites = "pixels" if labeled.is_dense else "images"
    findings.add(
        "note" if labeled.is_dense else "warning",
        "imbalance",
        f"The labels hold {ratio:,.0f} times as many {sites} of {most!r} ({counts[most]:,}) as of {least!r} "
        f"({counts[least]:,}). loss.class_balance=0.5 makes rare classes count more{rounds}.",
        where=least,
    )


def _tell_growth(config: Config, findings: Findings) -> None:
    """Networks trained with balance give rare classes too many pixels; their students, weighed again, still more."""
    if config.loss.class_balance is not None and _may_grow(config):
        message = (
            f"loss.class_balance={config.loss.class_balance:g} weighs pseudo labels, too: rare classes may be given "
            "to more pixels with every round. One round on all pixels is rounds.top_fractions=[1.0]."
        )
        findings.add("note", "balance-grows", message, where="loss.class_balance")


def _may_grow(config: Config) -> bool:
    """Whether masks are labeled in several rounds (docs/results.md, CamVid; in classification it was not seen)."""
    return config.task == "segmentation" and max(stage.round for stage in build_method(config).plan()) > 1


def _by_class(place: Place) -> dict[str, int]:
    return dict(zip(place.class_names, place.counts.tolist(), strict=True))


def _listed(names: list[str], at_most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _it(names: list[str]) -> str:
    return "this class" if len(names) == 1 else "these classes"
