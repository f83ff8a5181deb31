"""From a config to the parts of a run: data and splits."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dmt.config import Config
from dmt.data.draw import num_labels
from dmt.data.identity import check_identity, check_numbers, write_identity
from dmt.data.images import DataSet, ImageSet
from dmt.data.parts import Part, Parts, UnlabeledPart
from dmt.data.split_files import check_classes, read_split, write_classes, write_split
from dmt.data.splits import Split, difference_maximized, folds
from dmt.data.unreadable import without_unreadable
from dmt.errors import ConfigError
from dmt.methods import build_method
from dmt.randomness import generator
from dmt.setting import Arm
from dmt.tasks import TASKS
from dmt.types import IGNORE_INDEX, LabeledSubset, Stage


def learnable(config: Config, data: DataSet) -> Config:
    """The config, with supervised training in place of a method that has no unlabeled image to learn from.

    Raises:
        DMTError: as drawing the split does.
    """
    if all(stage.is_supervised for stage in build_method(config).plan()):
        return config
    # Of the sources, extra labels alone are taken from the unlabeled images; the others may not be settled yet.
    source = "extra" if config.validation.source == "extra" else "none"
    drawn = config.validation.model_copy(update={"source": source})
    if TASKS[config.task].draw(config.model_copy(update={"validation": drawn}), data).unlabeled:
        return config
    warnings.warn(
        f"There is no unlabeled image, and method={config.method} learns from them: this is supervised training.",
        stacklevel=4,
    )
    return config.model_copy(update={"method": "supervised"})


def resolve_validation(config: Config, data: DataSet, *, plan: Sequence[Stage]) -> Config:
    """Settle where the validation labels come from, where the config leaves it open.

    Raises:
        ConfigError: the config asks for a validation part that the data do not bring, or for another beside theirs, or
            for calibrated teachers without labels for that.
    """
    if config.validation.source is not None:
        _check_source(config.validation.source, data)
        return _calibratable(config, plan)
    if data.validation is not None:
        source = "given"
    elif len(plan) == 1 or num_labels(config, data) < config.validation.num_folds:
        source = "none"  # there is nothing to choose from, or by
    elif num_labels(config, data) < TASKS[config.task].few_labels(data):
        source = "cross_validation"  # setting labels aside would cost more than it tells
    else:
        source = "cut"
    config = config.model_copy(update={"validation": config.validation.model_copy(update={"source": source})})
    return _calibratable(config, plan)


def _calibratable(config: Config, plan: Sequence[Stage]) -> Config:
    """The config, unless it asks for calibrated teachers and has no labels to calibrate them by."""
    has_labels = config.validation.source not in ("none", "cross_validation")
    if config.rounds.calibration == "temperature" and any(stage.pseudo for stage in plan) and not has_labels:
        raise ConfigError(
            f"rounds.calibration is temperature, which is found on validation labels, and validation.source is "
            f"{config.validation.source}. Use validation.source=extra or cut, or rounds.calibration=none."
        )
    return config


def build_arms(
    config: Config,
    data: DataSet,
    folder: Path,
    *,
    needs_all_labels: bool,
    has_begun: bool = False,
) -> tuple[Arm, list[Arm]]:
    """The main arm, and one for each fold where choices come from a cross-validation.

    The split is drawn once and kept as text in the run folder, with what the data look like; a resume (`has_begun`)
    reads it back, and refuses other data.
    """
    task = TASKS[config.task]
    if has_begun:
        split = stored_split(config, data, folder / "splits")
    else:
        split = _split(config, data, folder / "splits", needs_all_labels=needs_all_labels)
    main = Arm(name="", folder=folder, parts=parts_of(config, data, split))
    if task.is_dense:
        _warn_missing_classes(config, main.parts.labeled, data)
    of_folds = fold_parts(config, data, split, needs_all_labels=needs_all_labels)
    arms = [
        Arm(name=f"folds/{number}/", folder=folder / "folds" / str(number), parts=parts)
        for number, parts in enumerate(of_folds)
    ]
    return main, arms


def has_split(run: Path) -> bool:
    """Whether a run's split is all there: `test.txt` is written last."""
    return (run / "splits" / "test.txt").is_file()


def draw_split(config: Config, data: DataSet, *, needs_all_labels: bool) -> Split:
    """Which training images are labeled, unlabeled or set aside for choices; written nowhere.

    Raises:
        ConfigError: more is asked for than there is.
        DataError: a list that cannot be read.
    """
    return _oracle_split(data) if needs_all_labels else TASKS[config.task].draw(config, data)


def parts_of(config: Config, data: DataSet, split: Split) -> Parts:
    """What the main arm of a run works on."""
    return _parts(config, data, split, split.labeled)


def fold_parts(config: Config, data: DataSet, split: Split, *, needs_all_labels: bool) -> list[Parts]:
    """What the arms of a cross-validation work on; none where choices are made otherwise.

    Raises:
        ConfigError: there are too few labels.
    """
    if config.validation.source != "cross_validation" or needs_all_labels:
        return []
    # Images hold several classes in segmentation: nothing to balance.
    is_dense = TASKS[config.task].is_dense
    labels = np.zeros(len(data.train)) if is_dense else data.train.labels(range(len(data.train))).numpy()
    cuts = folds(
        labels,
        split.labeled,
        num_folds=config.validation.num_folds,
        generator=generator(config.split_seed, "folds"),
    )
    return [_parts(config, data, split, labeled, held_out) for labeled, held_out in cuts]


def _check_source(source: str, data: DataSet) -> None:
    if source == "given" and data.validation is None:
        raise ConfigError(
            "validation.source is 'given', but the data bring no validation part. Add one, or set validation.source to "
            "cut, cross_validation or none, or leave it out."
        )
    if source not in ("given", "none") and data.validation is not None:
        raise ConfigError(
            f"validation.source is {source!r}, but the data bring a validation part; leave validation.source out, or "
            "set it to none to make no choice."
        )


def _given(config: Config, data: DataSet) -> ImageSet | None:
    """The validation part that the data bring, where choices are made by it."""
    return data.validation if config.validation.source == "given" else None


def _warn_missing_classes(config: Config, labeled: Part, data: DataSet) -> None:
    """Name the classes that no mask to train on shows; masks are read until each class was seen."""
    missing, seen = set(range(data.num_classes)), set[int]()
    for position in range(len(labeled)):
        if missing <= seen:
            return
        seen.update(np.unique(labeled.labels([position]).numpy()).tolist())
    if missing := missing - seen:
        names = ", ".join(data.class_names[k] for k in sorted(missing))
        ignored = (
            f" Some pixels have data.ignore_index={config.data.ignore_index} and count nothing: where that value is a "
            "class, save its pixels with the number of the class."
        )
        warnings.warn(
            f"None of the {len(labeled)} labeled masks shows {names}: nothing teaches the network these classes."
            f"{ignored if IGNORE_INDEX in seen else ''}",
            UserWarning,
            stacklevel=3,
        )


def stored_split(config: Config, data: DataSet, folder: Path) -> Split:
    """The split of a run that has begun.

    Raises:
        DataError: the data are not those that it began with.
    """
    check_classes(folder, data.class_names)
    used = replace(data, validation=_given(config, data))
    check_numbers(folder, used)  # first, since a list of other images says less
    split = read_split(folder, train=data.train, test=data.test, validation=used.validation)
    check_identity(folder, used, split.labeled)
    return split


def _split(config: Config, data: DataSet, folder: Path, *, needs_all_labels: bool) -> Split:
    split = draw_split(config, data, needs_all_labels=needs_all_labels)
    if config.data.max_unreadable:
        split = without_unreadable(split, data.train, at_most=config.data.max_unreadable, folder=folder)
    write_classes(folder, data.class_names)
    write_identity(folder, replace(data, validation=_given(config, data)), split.labeled)
    write_split(split, folder, train=data.train, test=data.test, validation=_given(config, data))
    return split


def _oracle_split(data: DataSet) -> Split:
    missing = int((~data.train.known()).sum())
    if missing:
        raise ConfigError(
            f"method=oracle trains on the label of every image, but {missing} of {len(data.train)} have none. Use a "
            "data set whose labels are all known, or method=supervised."
        )
    return Split(labeled=tuple(range(len(data.train))), unlabeled=())


def _parts(
    config: Config, data: DataSet, split: Split, labeled: tuple[int, ...], held_out: tuple[int, ...] = ()
) -> Parts:
    """An arm's images; folds are not scored on the test part, which decides nothing."""
    set_aside, given = held_out or split.validation, _given(config, data)
    validation = Part(data.train, set_aside) if set_aside else None
    if given is not None:
        validation = Part(given, tuple(range(len(given))))
    truth_known = bool(split.unlabeled) and bool(data.train.known()[list(split.unlabeled)].all())
    scored = data.test is not None and not held_out
    return Parts(
        num_classes=data.num_classes,
        labeled=Part(data.train, labeled),
        subsets=_subsets(config, data, labeled),
        unlabeled=UnlabeledPart(data.train, split.unlabeled, has_truth=truth_known),
        validation=validation,
        test=Part(data.test, tuple(range(len(data.test)))) if scored and data.test is not None else None,
    )


def _subsets(config: Config, data: DataSet, labeled: tuple[int, ...]) -> dict[LabeledSubset, Part]:
    """The labels that a and b start from where they start from different ones (paper, section 4.1.2)."""
    if config.rounds.dms_share is None:
        return {}
    first, second = difference_maximized(
        labeled, share=config.rounds.dms_share, generator=generator(config.split_seed, "dms")
    )
    return {"dms_a": Part(data.train, first), "dms_b": Part(data.train, second)}
