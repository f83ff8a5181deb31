"""What the pictures of a segmentation run show: its data and its networks, read again, and their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.images import DataSet, to_unit
from dmt.data.parts import Part
from dmt.data.pseudo_labels import MANIFEST
from dmt.data.pseudo_masks import default_palette, read_masks
from dmt.data.split_files import read_split
from dmt.engine import Engine
from dmt.loading import load_data
from dmt.methods import build_method
from dmt.methods.base import Method
from dmt.models.registry import PRETRAINED
from dmt.models.weights import load_weights
from dmt.models.windowed import windowed
from dmt.networks import network_builder
from dmt.randomness import generator
from dmt.report import story
from dmt.report.files import RunFiles, StageFiles, read_run
from dmt.report.panels import Color, Panel, class_map, photo, weight_map
from dmt.report.sheets import Block, Key, Row, blank_key, class_key, weight_key
from dmt.report.tables import short_title
from dmt.selection import decode_confidence
from dmt.stage_files import weights_path
from dmt.types import IGNORE_INDEX, SiteRule

NUM_IMAGES = 4
"""Of the test part, and as many unlabeled ones."""


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What the last network was taught.

    Attributes:
        store: its teacher's answers for every pixel.
        thresholds: `(256,)` float64, the lowest confidence that it was given, by label.
        rule: how it weighs them when its round is done; None where each counts the same.
    """

    store: Path
    thresholds: Tensor
    rule: SiteRule | None

    def read(self, name: str) -> tuple[Tensor, Tensor]:
        """An image's pseudo labels `(H, W)`, ignored where they were not given, and confidences `(H, W)`."""
        label, code = read_masks(self.store, name)
        confidence = decode_confidence(code)
        return torch.where(confidence >= self.thresholds[label], label, IGNORE_INDEX), confidence


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """All that pictures are drawn from.

    Attributes:
        data: the data set.
        test, unlabeled: its parts, with true labels; `unlabeled` has them where `truth_known` says so.
        networks: by caption, those whose answers are shown; the last one is the student.
        engine: where they are.
        teaching: None where no network had pseudo labels of a teacher.
    """

    data: DataSet
    test: Part | None
    unlabeled: Part
    truth_known: bool
    networks: Mapping[str, nn.Module]
    engine: Engine
    teaching: Teaching | None

    @property
    def palette(self) -> Sequence[Color]:
        """A color for each class."""
        return self.data.palette or default_palette(self.data.num_classes)

    def blocks(self) -> list[Block]:
        """Some test images and some unlabeled ones, as far as there are any."""
        blocks = []
        if self.test is not None and len(self.test):
            rows = [self._test_row(self.test, position) for position in spread(len(self.test), NUM_IMAGES)]
            blocks.append(Block(title="Test images", rows=rows))
        if self.teaching is not None:
            positions = spread(len(self.unlabeled), NUM_IMAGES)
            rows = [self._unlabeled_row(self.teaching, position) for position in positions]
            blocks.append(Block(title="Unlabeled training images", rows=rows))
        return blocks

    def keys(self, blocks: Sequence[Block]) -> list[Key]:
        """The legend: the classes that occur, and what else there is."""
        panels = [panel for block in blocks for row in block.rows for panel in row.panels]
        classes = sorted(set().union(*(panel.classes for panel in panels)))
        keys = [class_key(self.data.class_names[number], self.palette[number]) for number in classes]
        if any(panel.blank is not None and panel.blank.any() for panel in panels):
            keys.append(blank_key("no label"))
        if any(panel.kind == "weights" for panel in panels):
            keys.append(weight_key("weight 0 to 1"))
        return keys

    def _test_row(self, part: Part, position: int) -> Row:
        image, truth = part.images([position])[0], part.labels([position])[0]
        return Row(name=_name(part, position), panels=self._panels(image, truth, self._answers(image)))

    def _unlabeled_row(self, teaching: Teaching, position: int) -> Row:
        part, name = self.unlabeled, _name(self.unlabeled, position)
        image = part.images([position])[0]
        answers = self._answers(image)
        panels = self._panels(image, part.labels([position])[0] if self.truth_known else None, answers)
        label, confidence = teaching.read(name)
        panels.append(class_map("pseudo labels", label, self.palette))
        if teaching.rule is not None:
            *_, logits = answers.values()
            _, weights = teaching.rule(logits[None], label[None], confidence[None])
            panels.append(weight_map("dynamic weights", weights[0], blank=label == IGNORE_INDEX))
        return Row(name=name, panels=panels)

    def _panels(self, image: Tensor, truth: Tensor | None, answers: Mapping[str, Tensor]) -> list[Panel]:
        panels = [photo("image", image)]
        if truth is not None:
            panels.append(class_map("truth", truth, self.palette))
        return panels + [class_map(name, logits.argmax(dim=0), self.palette) for name, logits in answers.items()]

    @torch.inference_mode()
    def _answers(self, image: Tensor) -> dict[str, Tensor]:
        """Each network's logits `(C, H, W)`."""
        scaled = to_unit(image[None].to(self.engine.device))
        return {caption: network(scaled)[0].cpu() for caption, network in self.networks.items()}


def open_gallery(folder: Path) -> Gallery:
    """Read a finished segmentation run's data and networks again.

    Raises:
        RunFolderError: the folder holds no readable result.json.
        ConfigError, DataError, CheckpointError: the config, the data or the weights are no longer what they were.
    """
    run, config = read_run(folder), load_config(folder / "config.yaml")
    method, data, engine = build_method(config), load_data(config, None), Engine("fp32", alone=True)
    own_validation = data.validation if config.validation.source == "given" else None
    split = read_split(folder / "splits", train=data.train, test=data.test, validation=own_validation)
    shown = _shown_stages(run)
    *_, student = shown.values()
    return Gallery(
        data=data,
        test=None if data.test is None else Part(data.test, tuple(range(len(data.test)))),
        unlabeled=Part(data.train, split.unlabeled),
        truth_known=bool(data.train.known()[list(split.unlabeled)].all()),
        networks=_load_networks(folder, shown, config=config, method=method, data=data, engine=engine),
        engine=engine,
        teaching=_teaching(folder, student, method, num_classes=data.num_classes),
    )


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the positions 0 .. count - 1, evenly spaced, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def _name(part: Part, position: int) -> str:
    return part.source.key(part.indices[position])


def _shown_stages(run: RunFiles) -> dict[str, StageFiles]:
    """The baseline, and the stage that was picked; the last one where none but a start was picked."""
    baseline, final = story.baseline(run), story.final_stage(run)
    after = final if final.row["round"] > 0 else story.last_stage(run)
    shown = {story.baseline_title(run): baseline}
    if after is not baseline:
        shown[f"{run.result['method']}, round {short_title(after, run)}"] = after
    return shown


def _load_networks(
    folder: Path, shown: Mapping[str, StageFiles], *, config: Config, method: Method, data: DataSet, engine: Engine
) -> dict[str, nn.Module]:
    folders = {stage.folder for stage in shown.values()}
    plan = [stage for stage in method.plan() if stage.folder in folders]
    build = network_builder(_without_weight_files(config), data, None, plan=plan)
    networks = {}
    for caption, stage in shown.items():
        network = build(stage.row["network"], generator(config.seed, "unused"))
        load_weights(network, weights_path(folder / stage.folder), allow_missing=False)
        networks[caption] = windowed(engine.place(network), config.rounds.window).eval()
    return networks


def _without_weight_files(config: Config) -> Config:
    """The same networks, without files that may be gone by now: the run's own weights replace them anyway."""
    kept = {
        label: network if network.weights == PRETRAINED else network.model_copy(update={"weights": None})
        for label, network in config.networks
    }
    return config.model_copy(update={"networks": config.networks.model_copy(update=kept)})


def _teaching(folder: Path, student: StageFiles, method: Method, *, num_classes: int) -> Teaching | None:
    direct = folder / student.folder / "pseudo_labels"
    # Answers that were ranked anew lie beside the direct ones, and are what the student was given.
    store = next((one for one in (direct / "renormalized", direct) if (one / MANIFEST).is_file()), None)
    if store is None:
        return None
    confidences = student.row.get("thresholds_per_class") or [0.0] * num_classes
    thresholds = torch.full((IGNORE_INDEX + 1,), torch.inf, dtype=torch.float64)
    lowest = [torch.inf if one is None else one for one in confidences]
    thresholds[:num_classes] = torch.tensor(lowest, dtype=torch.float64)
    return Teaching(store=store, thresholds=thresholds, rule=method.site_rule(1.0))
