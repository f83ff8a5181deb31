"""What a stage is taught by: its teacher's pseudo labels, and what a result tells of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmt.alignment import Alignment, align
from dmt.config_files import config_hash
from dmt.config_sections import RoundsConfig
from dmt.data.pseudo_labels import Provenance, PseudoLabels, PseudoStore, PseudoSummary, WithoutLabels
from dmt.data.pseudo_table import LabelStore
from dmt.errors import DataError
from dmt.evaluate import pseudo_label_figures
from dmt.files import read_json, write_json
from dmt.label import Predict, label, renormalized_by, weights_hash
from dmt.metrics import best_temperature
from dmt.models.aligned import Aligned
from dmt.models.calibrated import Calibrated
from dmt.models.label_views import LABEL_SCALES, LabelViews
from dmt.models.windowed import windowed
from dmt.resources import require_space
from dmt.scores import ImageScores, load_scores
from dmt.setting import Arm, Setting, load_trained, stage_of
from dmt.stage_files import weights_path
from dmt.strangers import earlier_labeling, report, strangers
from dmt.types import BY_SHARES, PseudoSpec, Stage


def pseudo_labels(setting: Setting, arm: Arm, stage: Stage) -> tuple[PseudoLabels | None, dict[str, Any]]:
    """The pseudo labels that a stage trains on, None in a supervised one, and the facts that its result tells.

    Raises:
        DataError: when the teacher has no usable label at all.
        NonFiniteError, CheckpointError: see `label`.
    """
    if stage.is_supervised:
        return None, {"top_fraction": None, "num_pseudo_labels": 0}
    if stage.pseudo is None:
        without = WithoutLabels(arm.parts.unlabeled, setting.config.ignore_label, setting.task.is_dense)
        return without, {"top_fraction": None, "num_pseudo_labels": 0}
    strange = _strangers(setting, arm, stage, stage.pseudo)
    pseudo = _select(setting, arm, stage, stage.pseudo, strange)
    by_rank = stage.pseudo.selection != "threshold"
    facts = {"top_fraction": stage.pseudo.top_fraction if by_rank else None, **_facts(pseudo.summary)}
    if strange is not None:
        facts["strangers"] = int(strange.sum())
    if (temperature := _temperature(setting, arm, _teaching(setting, stage.pseudo))) is not None:
        facts["teacher_temperature"] = round(temperature, 4)
    facts |= _alignment_facts(_alignment_path(arm, stage))
    return pseudo, facts | _truth_figures(setting, arm, pseudo)


def _strangers(setting: Setting, arm: Arm, stage: Stage, spec: PseudoSpec) -> Tensor | None:
    """The unlabeled images that seem to belong to no class; None where only one teacher has spoken yet."""
    before, rounds = earlier_labeling(setting.plan, stage), setting.config.rounds
    if before is None or before.pseudo is None or setting.task.is_dense:
        return None
    earlier = _open_store(setting, arm, before, before.pseudo, "pseudo_labels")
    if rounds.strangers == "keep" and not setting.engine.told_by_main(earlier.is_whole):
        return None  # deleted since, for room: a count is not worth labeling again
    stores = [
        _labeled_store(setting, arm, one, pseudo, folder="pseudo_labels")
        for one, pseudo in ((stage, spec), (before, before.pseudo))
    ]
    tables = [store.read() for store in stores if isinstance(store, LabelStore)]
    strange = strangers(*tables, below=rounds.stranger_confidence)
    sentence = report(
        arm.title(stage),
        int(strange.sum()),
        len(strange),
        below=rounds.stranger_confidence,
        left_out=rounds.strangers == "leave_out",
    )
    if sentence is not None:
        setting.observer.message(sentence)
    return strange


def _truth_figures(setting: Setting, arm: Arm, pseudo: PseudoLabels) -> dict[str, float]:
    """How good pseudo labels are, where that is known; no run should end over labels that nobody needs."""
    truth = arm.parts.unlabeled.truth
    if truth is None:
        return {}
    num_classes = setting.data.num_classes
    try:
        return pseudo_label_figures(pseudo, truth, task=setting.task, num_classes=num_classes, engine=setting.engine)
    except DataError as error:
        setting.observer.message(f"How good the pseudo labels are is not told: {error}")
        return {}


def _facts(summary: PseudoSummary) -> dict[str, Any]:
    return {
        "num_pseudo_labels": sum(summary.kept),
        "predicted_per_class": list(summary.predicted),
        "pseudo_labels_per_class": list(summary.kept),
        "thresholds_per_class": list(summary.thresholds),
    }


def _select(setting: Setting, arm: Arm, stage: Stage, spec: PseudoSpec, strange: Tensor | None) -> PseudoLabels:
    """Label with the teacher, unless that is done, and keep the most confident part."""
    store = _labeled_store(setting, arm, stage, spec, folder="pseudo_labels")
    shares = class_shares(setting, arm) if spec.selection in BY_SHARES else ()
    if spec.selection == "renormalized":
        # Just below 1: there the threshold is the least confidence of a class, not the 0 that keeps everything.
        fraction = min(spec.top_fraction, 1 - 1e-12)
        direct = store.select(replace(spec, selection="per_class", top_fraction=fraction), class_shares=())
        predict = renormalized_by(direct.summary.thresholds)
        store = _labeled_store(setting, arm, stage, spec, folder="pseudo_labels/renormalized", predict=predict)
        chosen = store.select(replace(spec, selection="per_class", top_fraction=1.0), class_shares=())
        pseudo = chosen.summarized_as(replace(direct.summary, kept=chosen.summary.kept))
    elif isinstance(store, LabelStore) and setting.config.rounds.strangers == "leave_out":
        pseudo = store.select(spec, class_shares=shares, without=strange)
    else:
        pseudo = store.select(spec, class_shares=shares)
    _warn_never_predicted(setting, arm.title(stage), pseudo.summary)
    if sum(pseudo.summary.kept) == 0:
        raise _nothing_kept(arm.title(stage), spec, len(arm.parts.unlabeled))
    return pseudo


def _nothing_kept(title: str, spec: PseudoSpec, count: int) -> DataError:
    if spec.selection == "threshold":
        return DataError(
            f"{title}: no label in {count} unlabeled images is surer than loss.confidence_threshold={spec.threshold}. "
            "Lower it."
        )
    return DataError(f"{title}: the teacher has no usable label in any of {count} unlabeled images.")


def _labeled_store(
    setting: Setting, arm: Arm, stage: Stage, spec: PseudoSpec, *, folder: str, predict: Predict | None = None
) -> PseudoStore:
    """The whole store of what a stage's teacher says of every unlabeled image."""
    teaching = _teaching(setting, spec)
    store = _open_store(setting, arm, stage, spec, folder)
    if not setting.engine.told_by_main(store.is_whole):
        setting.engine.told_by_main(lambda: require_label_space(setting, arm, stage))
        label(
            _teacher(setting, arm, stage, teaching),
            arm.parts.unlabeled,
            store,
            predict=predict,
            engine=setting.engine,
            batch_size=setting.config.batch.size,
            workers=setting.config.workers,
            title=f"{arm.title(stage)}: labels by {teaching.title}",
            observer=setting.observer,
        )
    return store


def _open_store(setting: Setting, arm: Arm, stage: Stage, spec: PseudoSpec, folder: str) -> PseudoStore:
    """The store of what a stage's teacher says, whether it is there already or not."""
    teaching = _teaching(setting, spec)
    provenance = Provenance(
        teacher=arm.title(teaching),
        teacher_hash=weights_hash(weights_path(arm.path(teaching))),
        config_hash=config_hash(setting.config),
    )
    return setting.task.open_store(arm.path(stage) / folder, arm.parts.unlabeled.keys, provenance, setting.data)


def _teaching(setting: Setting, spec: PseudoSpec) -> Stage:
    """The stage that trained the teacher."""
    return stage_of(setting.plan, spec.teacher, spec.teacher_round)


def _teacher(setting: Setting, arm: Arm, stage: Stage, teaching: Stage) -> nn.Module:
    """The trained network as it labels: calibrated, by the views and with the shares of classes that are asked for."""
    network = load_trained(setting, arm, teaching)
    temperature = _temperature(setting, arm, teaching)
    if temperature is not None:
        network = Calibrated(network, temperature)
    teacher = _with_views(network, setting.config.rounds, dense=setting.task.is_dense)
    if setting.config.rounds.alignment == "none":
        return teacher
    return Aligned(teacher, torch.tensor(_alignment(setting, arm, stage, teaching, teacher).offsets))


def _alignment(setting: Setting, arm: Arm, stage: Stage, teaching: Stage, teacher: nn.Module) -> Alignment:
    """What a stage's teacher is moved by: found once, and kept among its labels."""
    path, config = _alignment_path(arm, stage), setting.config
    if setting.engine.told_by_main(path.is_file):
        return _read_alignment(path)
    found = align(
        teacher,
        arm.parts.unlabeled,
        class_shares(setting, arm),
        seed=config.seed,
        engine=setting.engine,
        batch_size=config.batch.size,
        workers=config.workers,
        title=f"{arm.title(stage)}: shares of classes by {teaching.title}",
        observer=setting.observer,
    )
    if setting.engine.is_main:
        write_json(path, asdict(found))
    setting.engine.wait()
    return found


def _alignment_path(arm: Arm, stage: Stage) -> Path:
    """Among the labels that it moved: whoever deletes these, since another teacher made them, deletes it as well."""
    return arm.path(stage) / "pseudo_labels" / "alignment.json"


def _read_alignment(path: Path) -> Alignment:
    stored = read_json(path)
    return Alignment(tuple(stored["offsets"]), stored["moved"])


def _alignment_facts(path: Path) -> dict[str, Any]:
    """What a result tells of it; nothing of runs that had no such file yet."""
    if not path.is_file():
        return {}
    found = _read_alignment(path)
    return {"alignment_offsets": [round(x, 4) for x in found.offsets], "labels_moved": round(100 * found.moved, 4)}


def _temperature(setting: Setting, arm: Arm, teaching: Stage) -> float | None:
    """What a teacher's logits are divided by: found on the validation labels; None where that is not asked for."""
    if setting.config.rounds.calibration == "none":
        return None
    scores = load_scores(arm.path(teaching) / "scores.safetensors")["validation"]
    assert isinstance(scores, ImageScores)
    return best_temperature(scores.probabilities, scores.targets)


def _with_views(teacher: nn.Module, rounds: RoundsConfig, *, dense: bool) -> nn.Module:
    """What a teacher looks at: the image or both ways round, all of it or window by window."""
    if rounds.label_views in LABEL_SCALES:
        teacher = LabelViews(teacher, scales=LABEL_SCALES[rounds.label_views])
    return windowed(teacher, rounds.window) if dense else teacher


def require_label_space(setting: Setting, arm: Arm, stage: Stage) -> None:
    """Refuse a disk that has no room for a stage's pseudo labels, less those that are there already.

    Raises:
        ShortageError: it has not.
    """
    unlabeled = arm.parts.unlabeled
    sizes = (unlabeled.size(position) for position in range(len(unlabeled)))
    sites = sum(height * width for height, width in sizes) if setting.task.is_dense else len(unlabeled)
    begun = sum(path.stat().st_size for path in arm.path(stage).rglob("pseudo_labels/**/*") if path.is_file())
    needed = sites * setting.task.bytes_a_site - begun
    require_space(arm.path(stage), needed, what=f"{arm.title(stage)}: the pseudo labels of {len(unlabeled):,} images")


def class_shares(setting: Setting, arm: Arm) -> list[float]:
    """Each class's share of the labeled sites."""
    counts = torch.zeros(setting.data.num_classes, dtype=torch.int64)
    for position in range(len(arm.parts.labeled)):
        labels = arm.parts.labeled.labels([position]).flatten()
        valid = labels[(labels >= 0) & (labels < len(counts))]
        counts += torch.bincount(valid, minlength=len(counts))
    return [count / max(1, int(counts.sum())) for count in counts.tolist()]


def _warn_never_predicted(setting: Setting, title: str, summary: PseudoSummary) -> None:
    names = setting.data.class_names
    missing = [name for name, count in zip(names, summary.predicted, strict=True) if count == 0]
    if missing:
        site = "pixel" if setting.task.is_dense else "image"
        setting.observer.message(f"{title}: the teacher predicts no {site} as {', '.join(missing)}.")
