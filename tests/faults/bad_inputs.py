"""Bad inputs of every kind that a user meets, by what is wrong; `test_bad_inputs.py` tries each and writes the table.

Each is a function that spoils something below a folder and returns the command's arguments. The folder holds `data`
(images and masks), `fashion` and `cifar` (tiny sets in the official formats), `mine.yaml` (a run on `data`) and `run`
(a finished run).
"""

import gzip
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from dmt.export import export_bundle
from tiny_folders import FOLDER_CONFIG, write_folder

Spoil = Callable[[Path], list[str]]

TINY = ["supervised.steps=2", "duration.steps=2", "rounds.top_fractions=[1.0]", "precision=fp32"]
DIGITS = ["train", "digits-20", *TINY, "batch={size: 8, labeled: 4}", "validation.source=none"]
MASKS = ["train", "mine.yaml"]
FASHION = ["train", "fashion-mnist-100", "data.root=fashion", *TINY]
CIFAR = ["train", "cifar10-4k-paper", "data.root=cifar"]


def write_inputs(root: Path) -> None:
    """Everything but the finished run, whole."""
    write_folder(root / "data")
    (root / "mine.yaml").write_text(FOLDER_CONFIG)
    stream = np.random.default_rng(0)
    (root / "fashion").mkdir()
    for part, count in (("train", 130), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (
            ("images-idx3", stream.integers(0, 256, (count, 28, 28), dtype=np.uint8)),
            ("labels-idx1", labels),
        ):
            (root / "fashion" / f"{part}-{kind}-ubyte").write_bytes(idx(array))
    (root / "cifar").mkdir()
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        pixels = stream.integers(0, 256, (10, 3072), dtype=np.uint8)
        (root / "cifar" / name).write_bytes(pickle.dumps({"data": pixels, "labels": list(range(10))}, 2))


def idx(array: np.ndarray) -> bytes:
    """An array of unsigned bytes in IDX format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _just(*arguments: str) -> Spoil:
    return lambda _: list(arguments)


def _digits(*changes: str) -> Spoil:
    return _just(*DIGITS, *changes)


def _masks(*changes: str) -> Spoil:
    return _just(*MASKS, *changes)


def _write(name: str, content: str | bytes, *arguments: str) -> Spoil:
    def spoil(root: Path) -> list[str]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(arguments or MASKS)

    return spoil


def _cut(name: str, keep: int, *arguments: str) -> Spoil:
    def spoil(root: Path) -> list[str]:
        (root / name).write_bytes((root / name).read_bytes()[:keep])
        return list(arguments or MASKS)

    return spoil


def _gone(name: str, *arguments: str) -> Spoil:
    def spoil(root: Path) -> list[str]:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return list(arguments or MASKS)

    return spoil


def _mask(array: np.ndarray) -> Spoil:
    def spoil(root: Path) -> list[str]:
        Image.fromarray(array).save(root / "data/masks/0.png")
        return MASKS

    return spoil


def _image(array: np.ndarray, name: str = "data/images/0.png") -> Spoil:
    def spoil(root: Path) -> list[str]:
        Image.fromarray(array).save(root / name)
        return MASKS

    return spoil


def _copy(source: str, target: str, *arguments: str) -> Spoil:
    def spoil(root: Path) -> list[str]:
        shutil.copy(root / source, root / target)
        return list(arguments or MASKS)

    return spoil


def _bomb(root: Path) -> list[str]:
    """A picture of 30,000 x 30,000 pixels in a few hundred kilobytes."""
    Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
    Image.new("1", (30_000, 30_000)).save(root / "data/images/4.png")
    Image.MAX_IMAGE_PIXELS = limit
    return MASKS


class _Attack:
    """Unpickled by Python itself it would leave a file behind."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def _weights(**tensors: np.ndarray) -> Spoil:
    def spoil(root: Path) -> list[str]:
        save_file(tensors, root / "x.safetensors")
        return [*DIGITS, "networks.a.weights=x.safetensors"]

    return spoil


def _again(change: Callable[[Path], object], *changes: str) -> Spoil:
    """Something about the finished run is changed, and its command given again."""

    def spoil(root: Path) -> list[str]:
        change(root / "run")
        return [*DIGITS, *changes, "--run-dir", "run"]

    return spoil


def _unfinished(change: Callable[[Path], object]) -> Spoil:
    """The run's last stage and its result are taken away, then something else is changed."""

    def undo(run: Path) -> None:
        (run / "result.json").unlink()
        (run / "rounds/1/a/DONE").unlink()
        change(run)

    return _again(undo)


def _edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _bundle(change: Callable[[Path], object], *arguments: str) -> Spoil:
    """The finished run is exported, and something about the bundle changed."""

    def spoil(root: Path) -> list[str]:
        export_bundle(root / "run", root / "bundle")
        change(root / "bundle")
        return list(arguments or ["predict", "bundle", "data/images", "-o", "classes.csv"])

    return spoil


def _weights_elsewhere(bundle: Path) -> None:
    values = json.loads((bundle / "model.json").read_text())
    next(iter(values["networks"].values()))["weights"] = "../run/supervised/ema.safetensors"
    _edit_json(bundle / "model.json", **values)


CLASSES = """task: classification
data: {name: folder, root: classes}
validation: {source: none}
rounds: {top_fractions: [1.0]}
supervised: {steps: 2}
duration: {steps: 2}
batch: {size: 4, labeled: 2}
precision: fp32
"""


def _classes(change: Callable[[Path], object], *changes: str) -> Spoil:
    """Two classes of two images each and two without a label, spoiled."""

    def spoil(root: Path) -> list[str]:
        for number, folder in enumerate(["labeled/cat", "labeled/dog", "unlabeled"] * 2):
            path = root / "classes" / folder / f"{number // 3}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        (root / "classes.yaml").write_text(CLASSES)
        change(root / "classes")
        return ["train", "classes.yaml", *changes]

    return spoil


def _nothing(_: Path) -> None:
    """Leave the images as they are."""


def _table(content: str) -> Spoil:
    def write(root: Path) -> None:
        (root / "table.csv").write_text(content)

    return _classes(write, "data.name=manifest", "data.root=classes/table.csv")


GRAY = np.zeros((24, 20), np.uint8)

BAD_INPUTS: dict[str, dict[str, Spoil]] = {
    "The command": {
        "no preset and no file": _just("train"),
        "a preset that does not exist": _just("train", "digits-2"),
        "a file that does not exist": _just("train", "absent.yaml"),
        "a list of something unknown": _just("list", "colours"),
        "an unknown option": _digits("--fast"),
        "a signal that cannot be waited for": _digits("--stop-on", "SIGKILL"),
        "resuming what is no run": _just("train", "--resume", "data"),
        "resuming and a new folder at once": _just("train", "--resume", "run", "--run-dir", "other"),
    },
    "The config": {
        "an unknown key": _digits("sed=1"),
        "a key without a value": _digits("seed"),
        "two wrong values at once": _digits("seed=-1", "optimizer.lr=x"),
        "an unknown method": _digits("method=dtm"),
        "an unknown data set": _digits("data.name=digit"),
        "an unknown network": _digits("networks.a.name=smal_cnn"),
        "an unknown augmentation": _digits("augment=strong"),
        "an unknown augmentation for self-supervision": _digits("self_supervised={steps: 1, augment: strong}"),
        "Nesterov's momentum of 0": _digits("optimizer={momentum: 0, nesterov: true}"),
        "fp16 without a GPU": _digits("precision=fp16"),
        "a fraction above 1": _digits("rounds.top_fractions=[1.5]"),
        "no rounds": _digits("rounds.top_fractions=[]"),
        "steps and epochs at once": _digits("duration={steps: 2, epochs: 2}"),
        "calibrated teachers without labels for that": _digits("rounds.calibration=temperature"),
        "more labels than images": _digits("data.num_labeled=5000"),
        "too few labels of a class left": _digits("data.num_labeled=1340"),
        "a batch of labels only": _digits("batch={size: 8, labeled: 8}"),
        "a class that is to be ignored": _digits("data.ignore_index=3"),
        "a data set of the other task": _masks("data.name=digits"),
        "another ignored value in published masks": _masks("data={name: scenes, ignore_index: 0}"),
        "a network of the other task": _masks("networks.a.name=wrn_10_1"),
        "a smallest scale above the largest": _masks("crop.scale=[2, 1]"),
        "a sample of labels without a label": _masks("rounds.dms_share=0.0001"),
        "broken YAML": _write("x.yaml", "task: [", "train", "x.yaml"),
        "YAML that would run code": _write("x.yaml", "task: !!python/object/apply:os.system [ls]", "train", "x.yaml"),
        "YAML that is a list": _write("x.yaml", "- task", "train", "x.yaml"),
        "a config that is no text": _write("x.yaml", b"\xff\xfe\x00\x01", "train", "x.yaml"),
        "a config that extends itself": _write("x.yaml", "extends: x.yaml", "train", "x.yaml"),
    },
    "One's own images, a class each": {
        "no folder `labeled`": _classes(lambda root: (root / "labeled").rename(root / "other")),
        "one class": _classes(lambda root: shutil.rmtree(root / "labeled/cat")),
        "an image beside the class folders": _classes(
            lambda root: shutil.copy(root / "unlabeled/0.png", root / "labeled/x.png")
        ),
        "images of two sizes": _classes(lambda root: Image.new("RGB", (9, 7)).save(root / "unlabeled/x.png")),
        "a class that only the test part has": _classes(
            lambda root: shutil.copytree(root / "labeled/cat", root / "test/hat")
        ),
        "a class without an image": _classes(_nothing, "data.class_names=[cat, dog, hat]"),
        "an image that is no image": _classes(lambda root: (root / "labeled/cat/0.png").write_bytes(b"none")),
        "16 bits without a range": _classes(
            lambda root: np.save(root / "unlabeled/x.npy", np.full((8, 8, 3), 900, np.uint16))
        ),
        "values outside the range": _classes(
            lambda root: np.save(root / "unlabeled/x.npy", np.full((8, 8, 3), 900, np.uint16)),
            "data.value_range=[0, 255]",
        ),
        "an orientation of bands": _classes(_nothing, "data.exif_orientation=true", "data.channels=4"),
        "a tar file that is none": _classes(lambda root: (root / "x.tar").write_bytes(b"no"), "data.shards=x.tar"),
        "shards that match no file": _classes(_nothing, "data.shards=gone-*.tar"),
        "a table that names a missing file": _table("path,label\nlabeled/cat/9.png,cat\n"),
        "a table that leaves its folder": _table("path,label\n../../etc/passwd,cat\n"),
        "a table with a part of its own": _table("path,label,split\nlabeled/cat/0.png,cat,dev\n"),
        "a table that names an image twice": _table("path,label\nlabeled/cat/0.png,cat\nlabeled/cat/0.png,dog\n"),
        "a table without paths": _table("file,label\nlabeled/cat/0.png,cat\n"),
        "a table with a row too short": _table("path,label\nlabeled/cat/0.png\n"),
        "a table without a label": _table("path,label\nlabeled/cat/0.png,\n"),
    },
    "Official data sets": {
        "an empty folder": _just("train", "fashion-mnist-100", "data.root=absent"),
        "IDX, one file missing": _gone("fashion/t10k-labels-idx1-ubyte", *FASHION),
        "IDX, cut off": _cut("fashion/train-images-idx3-ubyte", 5000, *FASHION),
        "IDX, cut off in the header": _cut("fashion/train-images-idx3-ubyte", 9, *FASHION),
        "IDX of another number type": _write("fashion/train-images-idx3-ubyte", b"\0\0\x0d\x03" + b"\0" * 99, *FASHION),
        "IDX whose header promises 16 TB": _write(
            "fashion/train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 8, 3, 2**24, 1024, 1024), *FASHION
        ),
        "IDX, a damaged gzip": _write(
            "fashion/train-labels-idx1-ubyte", gzip.compress(idx(GRAY))[:-9] + b"123456789", *FASHION
        ),
        "IDX, a label 77": _write("fashion/train-labels-idx1-ubyte", idx(np.full(130, 77, np.uint8)), *FASHION),
        "CIFAR, a file cut off": _cut("cifar/data_batch_3", 100, *CIFAR),
        "CIFAR, a file that is no pickle": _write("cifar/data_batch_3", b"nothing", *CIFAR),
        "CIFAR, a pickle that would run a command": _write("cifar/data_batch_3", pickle.dumps(_Attack()), *CIFAR),
        "CIFAR, pixels of another shape": _write(
            "cifar/data_batch_3", pickle.dumps({"data": np.zeros((2, 7), np.uint8), "labels": [0, 1]}), *CIFAR
        ),
    },
    "One's own masks": {
        "no such folder": _masks("data.root=absent"),
        "no images": _gone("data/images"),
        "no classes.txt": _gone("data/classes.txt"),
        "a class twice": _write("data/classes.txt", "left\nleft\nright\n"),
        "no mask of a labeled image": _gone("data/masks/0.png"),
        "a mask of another size": _mask(np.zeros((9, 9), np.uint8)),
        "a mask with the value 77": _mask(np.full((24, 20), 77, np.uint8)),
        "a mask in colors without a color map": _mask(np.zeros((24, 20, 3), np.uint8)),
        "a mask of 16 bits": _mask(np.zeros((24, 20), np.uint16)),
        "a mask as JPEG": lambda root: (
            Image.fromarray(GRAY).save(root / "data/masks/0.jpg"),
            (root / "data/masks/0.png").unlink(),
            MASKS,
        )[-1],
        "two images of one name": _copy("data/images/0.png", "data/images/0.jpg"),
        "an image in two lists": _write("data/unlabeled.txt", "4\n0\n"),
        "a list that names no image": _write("data/test.txt", "30\n"),
        "a list with a path that leaves the folder": _write("data/test.txt", "../../secret\n"),
        "a list that is no text": _write("data/test.txt", b"\xff\xfe\x00\x01"),
        "an empty image file": _write("data/images/4.png", b""),
        "an image cut off": _cut("data/images/4.png", 200),
        "text named .png": _write("data/images/4.png", "no picture"),
        "an image of 16 bits": _image(np.zeros((24, 20), np.uint16), "data/images/4.png"),
        "a TIFF of five bands": lambda root: (_five_bands(root / "data/images/9.tif"), MASKS)[-1],
        "a decompression bomb": _bomb,
        "more damaged images than allowed": lambda root: (
            _write("data/images/4.png", b"")(root),
            _write("data/images/5.png", b"")(root),
            [*MASKS, "data.max_unreadable=1"],
        )[-1],
    },
    "Weights": {
        "a file that does not exist": _digits("networks.a.weights=absent.safetensors"),
        "a pickle": _write("x.pt", pickle.dumps(_Attack()), *DIGITS, "networks.a.weights=x.pt"),
        "a pickle named .safetensors": _write(
            "x.safetensors", pickle.dumps(_Attack()), *DIGITS, "networks.a.weights=x.safetensors"
        ),
        "weights of another network": _weights(other=np.zeros(3, np.float32)),
        "weights of a newer version": lambda root: (
            save_file({"x": np.zeros(1, np.float32)}, root / "x.safetensors", metadata={"dmt": '{"format": 2}'}),
            [*DIGITS, "networks.a.weights=x.safetensors"],
        )[-1],
        "an empty file": _write("x.safetensors", b"", *DIGITS, "networks.a.weights=x.safetensors"),
    },
    "Run folders": {
        "a folder with other files": _digits("--run-dir", "data"),
        "a file instead of a folder": _digits("--run-dir", "mine.yaml"),
        "another run's folder": _again(lambda run: None, "seed=7"),
        "a run of a newer version": _again(
            lambda run: (run / "config.yaml").write_text(
                (run / "config.yaml").read_text().replace("format: 1", "format: 2")
            )
        ),
        "a config.yaml cut off": _again(lambda run: (run / "config.yaml").write_text("task: [")),
        "a result.json cut off": _again(lambda run: (run / "result.json").write_text('{"format"')),
        "a result.json without figures": _again(lambda run: (run / "result.json").write_text("[]")),
        "a DONE cut off": _unfinished(lambda run: (run / "supervised/DONE").write_text("{")),
        "weights of a finished stage cut off": _unfinished(
            lambda run: (run / "supervised/ema.safetensors").write_bytes(b"123")
        ),
        "weights of a finished stage changed": _unfinished(
            lambda run: shutil.copy(run / "rounds/1/a/ema.safetensors", run / "supervised/ema.safetensors")
        ),
        "pseudo labels of another teacher": _unfinished(
            lambda run: _edit_json(run / "rounds/1/a/pseudo_labels/manifest.json", teacher_hash="0")
        ),
        "pseudo labels of another run": _unfinished(
            lambda run: _edit_json(run / "rounds/1/a/pseudo_labels/manifest.json", config_hash="0")
        ),
        "pseudo labels of a newer version": _unfinished(
            lambda run: _edit_json(run / "rounds/1/a/pseudo_labels/manifest.json", format=2)
        ),
        "pseudo labels changed by hand": _unfinished(
            lambda run: (run / "rounds/1/a/pseudo_labels/labels.parquet").write_bytes(b"PAR1")
        ),
        "pseudo labels missing": _unfinished(lambda run: (run / "rounds/1/a/pseudo_labels/labels.parquet").unlink()),
        "a checkpoint that is no checkpoint": _unfinished(
            lambda run: (
                (run / "rounds/1/a/checkpoint").mkdir(),
                (run / "rounds/1/a/checkpoint/state.safetensors").write_bytes(pickle.dumps(_Attack())),
            )
        ),
        "a split that names an unknown image": _unfinished(
            lambda run: (run / "splits/labeled.txt").write_text("train/99999\n")
        ),
    },
    "Trained models": {
        "a folder that is no model": _just("predict", "data", "data/images", "-o", "classes.csv"),
        "a run that is not finished": lambda root: (
            (root / "run/result.json").unlink(),
            ["predict", "run", "data/images", "-o", "classes.csv"],
        )[-1],
        "a run whose result.json holds no figures": lambda root: (
            (root / "run/result.json").write_text("[]"),
            ["predict", "run", "data/images", "-o", "classes.csv"],
        )[-1],
        "a bundle of a newer version": _bundle(lambda bundle: _edit_json(bundle / "model.json", format=2)),
        "a model.json cut off": _bundle(lambda bundle: (bundle / "model.json").write_text('{"format"')),
        "a model.json with an unknown key": _bundle(lambda bundle: _edit_json(bundle / "model.json", run="ls")),
        "a bundle whose weights lie elsewhere": _bundle(_weights_elsewhere),
        "a bundle with other weights": _bundle(
            lambda bundle: [path.write_bytes(b"123") for path in bundle.glob("*.safetensors")]
        ),
        "an image cut off among others": lambda root: (
            _cut("data/images/4.png", 200)(root),
            ["predict", "run", "data/images", "-o", "classes.csv"],
        )[-1],
        "a table of an unknown kind": _just("predict", "run", "data/images", "-o", "classes.xls"),
        "windows on whole images": _just("predict", "run", "data", "-o", "x.csv", "--window", "8x8"),
        "a window of no size": _just("predict", "run", "data/images", "-o", "x.csv", "--window", "0x8"),
        "nothing to predict": _just("predict", "run", "fashion", "-o", "classes.csv"),
        "a pattern that no file fits": _just("predict", "run", "data/*.jpeg", "-o", "classes.csv"),
        "an input that does not exist": _just("predict", "run", "photos", "-o", "classes.csv"),
        "answers over a file that is none": lambda root: (
            (root / "mine.csv").write_text("my,own,table\n1,2,3\n"),
            ["predict", "run", "data/images", "-o", "mine.csv"],
        )[-1],
        "an ensemble of one network": _just("predict", "run", "data/images", "-o", "x.csv", "--ensemble"),
        "a part that data lack": _just("evaluate", "run", "--part", "validation"),
        "a part that no data have": _just("evaluate", "run", "--part", "tests"),
        "an evaluation on data of an unknown name": _just("evaluate", "run", "--data", "digit"),
        "an evaluation on other data's classes": _just(
            "evaluate", "run", "--data", "fashion-mnist", "data.root=fashion"
        ),
        "a bundle evaluated on nothing": _bundle(lambda _: None, "evaluate", "bundle"),
        "an export over other files": _just("export", "run", "-o", "data"),
        "an export in an unknown format": _just("export", "run", "--format", "tflite", "-o", "model"),
        "a comparison of a method of an unknown name": _just("compare", "digits-20", "--methods", "dmt,cl"),
        "a comparison over seeds that are none": _just("compare", "digits-20", "--seeds", "4..0"),
        "a comparison by validation labels without any": _just("compare", "digits-20", "--by", "validation"),
        "a comparison of a variant without a name": _just("compare", "digits-20", "--variant", "start=scratch"),
        "a comparison of one run with itself": _just(
            "compare", "digits-20", "--methods", "dmt", "--variant", "x: seed=3"
        ),
        "a comparison on data without a test part": lambda root: (
            (root / "data" / "test.txt").unlink(),
            ["compare", "mine.yaml", "--seeds", "0"],
        )[-1],
        "images to try a bundle on": _just("export", "run", "--format", "bundle", "-o", "m", "--images", "data"),
    },
}
"""Every bad input by what it belongs to."""


def _five_bands(path: Path) -> None:
    """An uncompressed TIFF of 4 x 4 pixels; Pillow writes none with five bands."""
    tags = [
        (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 134),
        (277, 3, 1, 5), (278, 3, 1, 4), (279, 4, 1, 80), (284, 3, 1, 1),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHI", tag, kind, count)
        + (struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value))
        for tag, kind, count, value in tags
    )
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + bytes(80))
