"""Settings to begin with: those of the presets that were measured, fitted to the images at hand."""

import math
from dataclasses import dataclass
from typing import Any

from dmt.init.backbones import Backbone, is_depthwise, takes_stride
from dmt.init.facts import Facts
from dmt.models.request import TaskName
from dmt.schedules import supervised_epochs

SMALL = 40
"""Pixels of a side up to which images are small: for small networks of their own, from random weights."""
_LARGEST_SIDE = {False: 240, True: 512}
"""Of images for masks, without and with a GPU."""
_CLASSIFIER_SIDE = {False: 128, True: 224}
_SCRATCH_SIDE, _PRETRAINED_SIDE = 64, 96
_LEAST_SIDE = 16
"""Of digits, which are of 8 x 8 pixels, the rounds make much more at 16 x 16 (docs/own-data.md)."""
_PAPERS_MOST_EPOCHS = 300
_ENOUGH_TO_CUT = 10
"""Labels of a class, or masks in twos, from which a tenth may be set aside for choices."""
_ENOUGH_TO_HALVE = 0.2
"""Of that: two labels of a class, or four masks, so that each half has all classes, or two masks."""

_ENOUGH_FOR_ONE_ROUND = 100
"""Labels of each class from which one long round on all pseudo labels ended above five (docs/results.md, one seed each:
Fashion-MNIST with 1,000 labels, CIFAR-10 with 1,000 and 4,000)."""


@dataclass(frozen=True)
class Entry:
    """A key of the config, its value, and what is said above it."""

    key: str
    value: Any
    comment: str


def default_backbone(task: TaskName, facts: Facts, *, has_gpu: bool) -> Backbone:
    """A network of ours, where there are no weights."""
    if task == "segmentation":
        return Backbone(name="small_unet", why="small, since it begins with random weights")
    if has_gpu and min(facts.size) >= 24:
        return Backbone(name="wrn_28_2", why="the paper's for images of 32 pixels")
    return Backbone(name="small_cnn", why="small, since it begins with random weights")


def is_small(facts: Facts) -> bool:
    """Whether networks for photos are out of place."""
    return max(facts.size) <= SMALL or facts.channels not in (1, 3)


def recipe(task: TaskName, facts: Facts, backbone: Backbone, *, has_gpu: bool, num_cpus: int) -> list[Entry]:
    """Every key that is worth a look, in the order of reading.

    Args:
        task: classification or segmentation.
        facts: of the images.
        backbone: the network.
        has_gpu: whether this machine has one.
        num_cpus: cores.
    """
    build = _masks if task == "segmentation" else _classes
    entries = build(facts, backbone, has_gpu=has_gpu)
    if not has_gpu and is_depthwise(backbone, task):
        entries.append(Entry("precision", "fp32", "On a CPU a network of this kind may be slower in bf16; GPU: auto."))
    if has_gpu:
        entries.append(Entry("workers", min(8, num_cpus), "Processes that load images, so that the GPU does not wait."))
    return entries


def _classes(facts: Facts, backbone: Backbone, *, has_gpu: bool) -> list[Entry]:
    size, told = _classifier_size(facts, backbone, has_gpu=has_gpu)
    if backbone.knows_photos:
        full, most, supervised_most, steps = 32, 8, 16, 1000 if has_gpu else 400
    else:
        full, most, supervised_most, steps = 128, 32, 64, 4000 if has_gpu else 1500
    full = max(8, min(full, _power_of_two(facts.num_unlabeled or full)))
    batch = {
        "size": full,
        "labeled": max(2, min(most, full // 4, _power_of_two(facts.num_labeled))),
        "supervised": max(4, min(supervised_most, 2 * _power_of_two(facts.num_labeled))),
    }
    rounds, share = _rounds_of_classes(facts)
    entries = [
        _data(facts, size, told),
        _networks({"a": _network(backbone)}, backbone),
        _validation(facts, spare=facts.fewest_labels / _ENOUGH_TO_CUT),
        Entry("start", "finetune",
              "A student goes on from its own weights of the last round; `scratch` (the paper's) needs longer rounds."),
        rounds,
        Entry("augment", "default",
              "Mirrors, turns and recolors images. Where left and right or colors tell the classes apart: digits, "
              "which turns them alone, or none."),
    ]  # fmt: skip
    if backbone.knows_photos:
        entries.append(_adamw(5.0e-4))
    return entries + _lengths(facts, batch, steps, share)


def _rounds_of_classes(facts: Facts) -> tuple[Entry, float]:
    """The rounds, and the steps of each in parts of those on the labels alone: twice as many in all, either way."""
    if facts.fewest_labels >= _ENOUGH_FOR_ONE_ROUND:
        fractions, share, order = [1.0], 2.0, "All pseudo labels in one long round"
    else:
        fractions, share, order = [0.2, 0.4, 0.6, 0.8, 1.0], 0.4, "The surest pseudo labels first, more each round"
    if facts.evens_out:
        selection = "per_class"
        comment = (
            f"{order}. per_class: each class by its own labels, since as many of each class are drawn from classes "
            "that have not equally many."
        )
    else:
        selection = "class_prior"
        comment = (
            f"{order}. class_prior: no class gets more than its share of your labels; where unlabeled images are of "
            "other shares, take per_class. alignment: labeled_shares may add a point or two, where these shares are "
            "surely right (docs: method, aligned teachers)."
        )
    return Entry("rounds", {"top_fractions": fractions, "selection": selection}, comment), share


def _masks(facts: Facts, backbone: Backbone, *, has_gpu: bool) -> list[Entry]:
    size, whole = _mask_size(facts, has_gpu=has_gpu)
    told = "All images are resized to this; null = each its own size." if size else ""
    rounds: dict[str, Any]
    loss: dict[str, float | str]
    if backbone.knows_photos:
        rounds = {"top_fractions": [1.0], "label_views": "multiscale", "dms_share": None}
        loss = {"gamma_agree": 1.0, "gamma_disagree": 1.0, "class_balance": 0.5, "weights_per_class": "mean_one"}
        batch, scale, steps, share = {"size": 8, "labeled": 4}, [0.8, 1.5], 4000 if has_gpu else 1000, 0.4
        crop = [max(16 * int(0.8 * side / 16), min(side, 32)) for side in whole]
        optimizer = _adamw(1.0e-3)
    else:
        rounds = {"top_fractions": [1.0] * 10}
        loss = {"gamma_agree": 3.0, "gamma_disagree": 3.0, "weights_per_class": "mean_one"}
        batch, scale, steps, share = {"size": 8, "labeled": 2}, [0.8, 1.25], 4800 if has_gpu else 1200, 1 / 6
        crop = whole  # of scenes, windows of 3/4 of a side cost the rounds half of what they gain
        optimizer = Entry("optimizer", {"lr": 0.1, "supervised_lr": 0.2}, "High, for random weights.")
    comment = "Two networks label for each other, every pixel, ten times."
    doubt = "How hard pseudo labels are doubted where the networks disagree; 0 = not at all, the paper has 3 to 5."
    doubt += " weights_per_class: rare classes lose nothing to doubt."
    if backbone.knows_photos:
        doubt += " class_balance: they count more."
        comment = (
            "Two networks label for each other, once and every pixel. multiscale: labels by an image and its mirror "
            "image at three sizes; plain, where left and right matter, or where labeling takes too long. dms_share: "
            "null lets both learn from all labels, in another order; the paper has 0.8 of them each."
        )
    return [
        _data(facts, size, told),
        _networks(_pair(backbone), backbone),
        _validation(facts, spare=facts.num_labeled / (2 * _ENOUGH_TO_CUT)),
        Entry("rounds", rounds, comment),
        Entry("loss", loss, doubt),
        Entry("crop", {"size": crop, "scale": scale}, "What a training step sees of an image, and its scale."),
        Entry("augment", "color" if backbone.knows_photos else "default",
              "Mirrors images and, with `color`, varies their colors; no-flip, where left and right matter."),
        optimizer,
        *_lengths(facts, batch, steps, share),
    ]  # fmt: skip


def _data(facts: Facts, size: list[int] | None, told: str) -> Entry:
    if facts.num_unlabeled == 0:
        told += (
            " Every training image has a label, so that this trains on labels alone. With num_labeled: "
            f"{max(len(facts.class_names), facts.num_labeled // 8)} or so the others would serve as unlabeled ones."
        )
    return Entry("data", facts.data | ({"image_size": size} if size else {}), told.strip())


def _networks(networks: dict[str, Any], backbone: Backbone) -> Entry:
    comment = f"{backbone.name.rpartition(':')[2]}: {backbone.why}."
    if backbone.options:
        comment += (
            " Its options are for weights that were converted from TensorFlow's, as the file's look; leave pad_type "
            "and bn_eps out for PyTorch's own."
        )
    return Entry("networks", networks, comment)


def _network(backbone: Backbone, **options: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"name": backbone.name}
    if backbone.weights is not None:
        values |= {"weights": backbone.weights, "allow_missing": True}
    merged = {**backbone.options, **options}
    return values | ({"options": merged} if merged else {})


def _pair(backbone: Backbone) -> dict[str, Any]:
    """Two networks that learn from the labels in another order; coarse where the backbone can be, which is fast."""
    stride = {"output_stride": 32} if backbone.knows_photos and takes_stride(backbone, 32) else {}
    return {label: _network(backbone, **stride) for label in ("a", "b")}


def _validation(facts: Facts, *, spare: float) -> Entry:
    """Where validation labels come from.

    Args:
        facts: of the images.
        spare: the labels, in parts of what is enough to set a tenth aside.
    """
    if facts.num_validation:
        return Entry(
            "validation", {"source": "given"}, f"The {facts.num_validation:,} images that you set aside choose."
        )
    if spare >= 1:
        return Entry("validation", {"source": "cut"},
                     "A tenth of the labels is set aside for choices; none = all are learned from, and the last round "
                     "is final.")  # fmt: skip
    if not facts.num_test and facts.num_unlabeled and spare >= _ENOUGH_TO_HALVE:
        return Entry("validation", {"source": "cross_validation"},
                     "Without a test part, and with labels too few to set some aside, a repetition on each half of "
                     "them tells whether unlabeled images help, and chooses. none = a third of the time, and no "
                     "figure at all.")  # fmt: skip
    return Entry("validation", {"source": "none"},
                 "All labels are learned from, and the last round is final; cross_validation lets few labels choose, "
                 "at three times the time.")  # fmt: skip


def _adamw(lr: float) -> Entry:
    value = {"name": "adamw", "lr": lr, "supervised_lr": 2 * lr, "weight_decay": 0.01}
    return Entry("optimizer", value, "Gets further in few steps from pretrained weights than SGD does.")


def _lengths(facts: Facts, batch: dict[str, int], steps: int, share: float) -> list[Entry]:
    """Batches, and as many steps as this machine has patience for, the supervised ones by the paper's rule."""
    total = facts.num_training
    a_pass = math.ceil(facts.num_labeled / batch.get("supervised", batch["size"]))
    passes = supervised_epochs(1.0, num_images=total, num_labeled=facts.num_labeled)
    oracle = min(_PAPERS_MOST_EPOCHS, _rounded(steps / (passes * a_pass)))
    own = max(1, round(passes * oracle * a_pass))
    return [
        Entry("batch", batch, "Images of a step, and how many of them are labeled. Lower size if memory runs out."),
        Entry("supervised", {"oracle_epochs": oracle},
              f"The paper's rule: sqrt({total:,} images / {facts.num_labeled:,} labels) x {oracle:g} = "
              f"{passes * oracle:,.0f} passes over the labels, about {own:,} steps. Longer helps, up to a point."),
        Entry("duration", {"steps": max(10, 10 * round(share * own / 10))}, "Steps of each round."),
    ]  # fmt: skip


def _classifier_size(facts: Facts, backbone: Backbone, *, has_gpu: bool) -> tuple[list[int], str]:
    """The size to resize to, and a sentence."""
    height, width = facts.size
    if backbone.knows_photos:
        side = min(_CLASSIFIER_SIDE[has_gpu], max(_PRETRAINED_SIDE, 32 * round(min(facts.size) / 32)))
        return [side, side], f"Resized from {height} x {width} or so; larger may be better, and is slower."
    if max(facts.size) <= SMALL and facts.num_sizes == 1:
        factor = math.ceil(_LEAST_SIDE / min(facts.size))
        told = "As the images are; one of another size is resized to this."
        if factor > 1:
            told = f"Enlarged from {height} x {width}: networks halve images twice, which would leave little of them."
        return [factor * height, factor * width], told
    side = min(_SCRATCH_SIDE, max(8, 4 * round(min(facts.size) / 4)))
    return [side, side], f"Resized from {height} x {width} or so, for a network that looks at small images."


def _mask_size(facts: Facts, *, has_gpu: bool) -> tuple[list[int] | None, list[int]]:
    """The size to resize to, None where images may stay as they are; and the size that they have then."""
    factor = min(1.0, _LARGEST_SIDE[has_gpu] / max(facts.size))
    size = list(facts.size) if factor == 1 else [max(8, 4 * round(side * factor / 4)) for side in facts.size]
    return None if factor == 1 else size, size


def _power_of_two(number: int) -> int:
    """The largest one that is not above a number."""
    return 1 << max(0, number.bit_length() - 1)


def _rounded(value: float) -> float:
    """To two digits, and a whole number from 10 on."""
    digits = 1 - math.floor(math.log10(value))
    rounded = round(value, digits)
    return int(rounded) if rounded >= 10 else rounded
