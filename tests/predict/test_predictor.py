"""`dmt.load(...)`: a run and its bundle answer alike, and as the run's own evaluation did."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

import dmt
from dmt.config_sections import DataConfig
from dmt.data.catalog import load_dataset
from dmt.data.images import DataSet, resize
from dmt.engine import Engine
from dmt.errors import CheckpointError, ConfigError, DataError, RunFolderError
from dmt.export import export_bundle
from dmt.models.network import Network
from dmt.models.weights import state_of
from dmt.models.windowed import Windowed
from dmt.predict import Answer, Window
from dmt.run import run
from dmt.scores import load_scores
from dmt.types import IGNORE_INDEX
from tiny_runs import TINY_NETWORKS, striped_images, tiny_config, tiny_parts
from trained_runs import train_masks


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_dataset(DataConfig(name="digits"), task="classification")


def test_a_run_answers_as_its_own_evaluation_did(digits_run: Path, digits: DataSet) -> None:
    assert digits.test is not None
    images = list(digits.test.images(range(len(digits.test))))
    scores = load_scores(digits_run / "rounds/1/a/scores.safetensors")["test"]
    found = dmt.load(digits_run).predict(images)
    assert np.allclose(found.probabilities, scores.probabilities.numpy(), atol=1e-6)
    assert (found.labels == scores.probabilities.argmax(dim=1).numpy()).all()
    assert np.array_equal(found.confidence, found.probabilities.max(axis=1))
    assert found.names[:5] == [found.class_names[label] for label in found.labels[:5]]


def test_a_bundle_is_the_runs_network_to_the_bit(digits_run: Path, digits: DataSet, tmp_path: Path) -> None:
    export_bundle(digits_run, tmp_path / "bundle")
    run_model, bundle_model = dmt.load(digits_run), dmt.load(str(tmp_path / "bundle"))
    assert isinstance(run_model.network, Network)
    assert isinstance(bundle_model.network, Network)
    wanted = state_of(run_model.network)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in state_of(bundle_model.network).items())
    images = list(digits.train.images(range(20)))
    first, second = (model.predict(images).probabilities for model in (run_model, bundle_model))
    assert np.array_equal(first, second)
    assert bundle_model.description == run_model.description


def test_an_ensemble_is_the_mean_of_the_last_round(digits_run: Path, digits: DataSet, tmp_path: Path) -> None:
    export_bundle(digits_run, tmp_path / "bundle")
    images = list(digits.train.images(range(12)))
    model = dmt.load(digits_run)
    alone = []
    for name in ("round-1-a", "round-1-b"):
        changed = json.loads((tmp_path / "bundle/model.json").read_text()) | {"picked": name}
        (tmp_path / "bundle/model.json").write_text(json.dumps(changed))
        alone.append(dmt.load(tmp_path / "bundle").predict(images).probabilities)
    for place in (digits_run, tmp_path / "bundle"):
        found = dmt.load(place, ensemble=True)
        assert np.allclose(found.predict(images).probabilities, np.mean(alone, axis=0), atol=1e-6)
        assert found.what == "round 1, network a and round 1, network b"
    assert model.what == "round 1, network a"


def test_images_may_come_in_any_form(digits_run: Path, digits: DataSet, tmp_path: Path) -> None:
    image = digits.train.images([3])[0]
    array = image[0].numpy()
    Image.fromarray(array).save(tmp_path / "x.png")
    Image.fromarray(np.stack([array] * 3, axis=-1)).save(tmp_path / "color.png")
    forms: list[Any] = [
        image,
        image[0],
        image.float() / 255,
        array,
        array[..., None],
        np.stack([array] * 3, axis=-1),
        (array / 255).astype(np.float32),
        Image.fromarray(array),
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        tmp_path / "color.png",
    ]
    found = dmt.load(digits_run).predict(forms).probabilities
    assert np.allclose(found, found[0], atol=1e-6)
    (alone,) = dmt.load(digits_run).predict(str(tmp_path / "x.png"))
    assert np.allclose(alone.probabilities, found[0], atol=1e-6)


def test_colors_become_the_gray_that_files_become(digits_run: Path, tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colors).save(tmp_path / "x.png")
    reader = dmt.load(digits_run).reader
    assert torch.equal(reader.read(colors, where=""), reader.read(tmp_path / "x.png", where=""))


def test_other_sizes_are_resized_as_in_training(digits_run: Path) -> None:
    image = torch.randint(0, 256, (1, 40, 23), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = dmt.load(digits_run).predict([image, resize(image[None], (16, 16))[0]]).probabilities
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(2, 5, 5, dtype=torch.uint8), "Image 1 has 2 channels"),
        (torch.zeros(5, 5, dtype=torch.int64), "Image 1 is torch.int64"),
        (np.full((5, 5), 300.0), "Image 1 has float values"),
        ({"no": "image"}, "Image 1 is a dict"),
        ("absent.png", "There is no file absent.png"),
    ],
)
def test_what_is_no_image_is_refused_with_its_number_or_name(digits_run: Path, image: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        dmt.load(digits_run).predict([torch.zeros(1, 8, 8, dtype=torch.uint8), image])
    assert words in str(caught.value)


def test_one_picture_is_a_list_of_it(digits_run: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))
    model = dmt.load(digits_run)
    assert np.array_equal(model.predict(picture).labels, model.predict([picture]).labels)


def test_an_array_that_looks_like_one_image_is_refused(digits_run: Path, masks_run: Path) -> None:
    with pytest.raises(DataError, match=r"array of the shape \(8, 8\), which looks like one image; give a list of it"):
        dmt.load(digits_run).predict(np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(DataError, match="looks like one image"):
        dmt.load(digits_run).predict(np.zeros((8, 8, 3), dtype=np.uint8))
    assert len(dmt.load(digits_run).predict(np.zeros((8, 8), dtype=np.uint8) for _ in range(2))) == 2
    model = dmt.load(masks_run)
    for one in (np.zeros((16, 16, 3), dtype=np.uint8), torch.zeros(3, 16, 16, dtype=torch.uint8)):
        with pytest.raises(DataError, match="looks like one image"):
            model.predict(one)
    assert model.predict(np.zeros((2, 16, 16, 3), dtype=np.uint8)).labels.shape == (2, 16, 16)


@pytest.mark.filterwarnings("error")
def test_arrays_that_may_not_be_written_to_are_read(digits_run: Path) -> None:
    image = np.zeros((8, 8), dtype=np.uint8)
    image.flags.writeable = False
    assert len(dmt.load(digits_run).predict([image])) == 1


def test_masks_have_no_one_name_an_image(masks_run: Path) -> None:
    with pytest.raises(DataError, match="These are masks"):
        _ = dmt.load(masks_run).predict([np.zeros((16, 16, 3), dtype=np.uint8)]).names


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (1, 9)])
def test_images_of_a_few_pixels_have_masks(masks_run: Path, size: tuple[int, int]) -> None:
    assert dmt.load(masks_run).predict([np.zeros((*size, 3), dtype=np.uint8)])[0].label.shape == size


def test_no_images_no_answers(digits_run: Path) -> None:
    assert len(dmt.load(digits_run).predict([])) == 0


def test_maps_have_the_size_of_their_images(masks_run: Path) -> None:
    folder = masks_run.parent / "data/images"
    found = dmt.load(masks_run).predict([folder / "0.png", folder / "1.png"], batch_size=2)
    assert [answer.label.shape for answer in found] == [(24, 20), (20, 28)]
    assert all(answer.probabilities.shape == (3, *answer.label.shape) for answer in found)
    assert all(np.array_equal(answer.probabilities.argmax(axis=0), answer.label) for answer in found)
    with pytest.raises(DataError, match="take the answers one by one"):
        _ = found.labels
    assert found[1:2][0] is found[1]


def test_maps_agree_with_the_runs_own_evaluation(masks_run: Path) -> None:
    data = masks_run.parent / "data"
    (answer,) = dmt.load(masks_run).predict([data / "images/3.png"])
    truth = np.array(Image.open(data / "masks/3.png"))
    wanted = load_scores(masks_run / "rounds/1/a/scores.safetensors")["test"].confusion.numpy()
    found = np.zeros((3, 3), dtype=int)
    np.add.at(found, (truth[truth != IGNORE_INDEX], answer.label[truth != IGNORE_INDEX]), 1)
    assert np.array_equal(found, wanted)


def test_a_map_of_a_resized_image_goes_back_to_the_files_size(masks_run: Path, tmp_path: Path) -> None:
    data = masks_run.parent / "data"
    folder = train_masks(tmp_path / "run", data, data={"name": "folder", "root": str(data), "image_size": [12, 16]})
    model = dmt.load(folder)
    assert model.description.input.image_size == (12, 16)
    file = data / "images/1.png"
    small = resize(model.reader.read(file, where="")[None], (12, 16))[0]
    (large_answer,), (small_answer,) = model.predict([file]), model.predict([small])
    assert large_answer.label.shape == (20, 28)
    for row in range(20):
        for column in range(28):
            old = int((row + 0.5) * 12 / 20), int((column + 0.5) * 16 / 28)
            assert large_answer.label[row, column] == small_answer.label[old]
            assert large_answer.confidence[row, column] == small_answer.confidence[old]


def test_answers_at_their_own_size_are_left_as_they_are() -> None:
    answer = Answer(label=np.eye(3), confidence=np.eye(3), probabilities=None)
    assert answer.at_size((3, 3)) is answer


def test_windows(masks_run: Path) -> None:
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = dmt.load(masks_run)
    (whole,) = plain.predict([image])
    (covered,) = dmt.load(masks_run, window=(40, 64)).predict([image])
    assert np.array_equal(whole.probabilities, covered.probabilities)
    (seen,) = dmt.load(masks_run, window=Window(size=(16, 24), overlap=0.5)).predict([image])
    inner = plain.network.network if isinstance(plain.network, Windowed) else plain.network
    with torch.inference_mode():
        wanted = Windowed(inner, (16, 24), overlap=0.5)(image[None].float() / 255).exp()[0]
    assert np.allclose(seen.probabilities, wanted.numpy(), atol=1e-6)
    assert not np.allclose(seen.probabilities, whole.probabilities, atol=1e-6)


def test_very_large_images_are_seen_through_windows_by_themselves(masks_run: Path, monkeypatch) -> None:
    sizes = []

    def noted(self: Network, images: Tensor) -> Tensor:
        sizes.append(tuple(images.shape[-2:]))
        return images[:, :3] * 0

    monkeypatch.setattr(Network, "forward", noted)
    monkeypatch.setattr("dmt.models.windowed.LARGE_AREA", 1000)
    monkeypatch.setattr("dmt.models.windowed.LARGE_WINDOW", (16, 16))
    image = torch.zeros(3, 25, 40, dtype=torch.uint8)
    larger = torch.zeros(3, 25, 41, dtype=torch.uint8)
    dmt.load(masks_run).predict([image])
    assert sizes == [(25, 40)]
    dmt.load(masks_run).predict([larger])
    assert set(sizes[1:]) == {(16, 16)}
    sizes.clear()
    dmt.load(masks_run, window=Window(whole=True)).predict([larger])
    assert sizes == [(25, 41)]


def test_the_window_of_labeling_is_that_of_prediction(masks_run: Path, tmp_path: Path) -> None:
    folder = train_masks(
        tmp_path / "run", masks_run.parent / "data", rounds={"top_fractions": [1.0], "window": [16, 16]}
    )
    model = dmt.load(folder)
    assert isinstance(model.network, Windowed)
    assert model.network.window == (16, 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": (0, 5)}, "0 x 5"),
        ({"overlap": 1.0}, "overlap of windows is 1.0"),
        ({"overlap": -0.1}, "-0.1"),
        ({"overlap": 0.5, "whole": True}, "Leave one of both out"),
    ],
)
def test_impossible_windows_are_refused(arguments, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Window(**arguments)


@pytest.mark.parametrize("window", [(8, 8), Window(size=(8, 8)), Window(overlap=0.5), Window(whole=True)])
def test_windows_are_for_masks(digits_run: Path, window: Window | tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="Windows are for segmentation"):
        dmt.load(digits_run, window=window)


def test_each_of_several_processes_has_all_answers(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (130, 16, 16), dtype=np.uint8))
    alone = dmt.load(digits_run).predict(images)
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    assert Engine("fp32").world_size == 2
    assert np.array_equal(dmt.load(digits_run).predict(images).probabilities, alone.probabilities)


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble, np.float16])
def test_numbers_of_any_order_and_length_are_read(digits_run: Path, dtype: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16)).astype(np.float64) / 256  # exact in half precision
    model = dmt.load(digits_run)
    expected = model.predict(list(images)).probabilities
    assert np.array_equal(model.predict(list(images.astype(dtype))).probabilities, expected)


def test_own_networks_are_brought_along(tmp_path: Path) -> None:
    run(tiny_config(), datasets=tiny_parts(), models=TINY_NETWORKS, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"models=\{'a': \.\.\.\}"):
        dmt.load(tmp_path / "run")
    images, labels = striped_images(18, seed=2)
    export_bundle(tmp_path / "run", tmp_path / "bundle")
    accuracy = json.loads((tmp_path / "run/result.json").read_text())["final"]["accuracy"]
    for place in (tmp_path / "run", tmp_path / "bundle"):
        found = dmt.load(place, models=TINY_NETWORKS).predict(list(images))
        assert 100 * (found.labels == labels.numpy()).mean() == pytest.approx(accuracy, abs=1e-3)


def test_what_is_neither_is_refused(tmp_path: Path, digits_run: Path) -> None:
    with pytest.raises(RunFolderError, match="neither a bundle"):
        dmt.load(tmp_path)
    shutil.copytree(digits_run, tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    with pytest.raises(RunFolderError, match="nor a finished run"):
        dmt.load(tmp_path / "run")


def test_changed_weights_of_a_run_are_refused(tmp_path: Path, digits_run: Path) -> None:
    shutil.copytree(digits_run, tmp_path / "run")
    for path in (tmp_path / "run/rounds/1/a").glob("*.safetensors"):
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="was changed after it was written"):
        dmt.load(tmp_path / "run")


def test_an_ensemble_of_one_is_refused(tmp_path: Path) -> None:
    run(tiny_config(method="supervised"), datasets=tiny_parts(), models=TINY_NETWORKS, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="no ensemble"):
        dmt.load(tmp_path / "run", models=TINY_NETWORKS, ensemble=True)


def test_bands_are_read_as_they_were_in_training(tmp_path: Path) -> None:
    """A model of five bands of 16 bits, by a description alone."""
    from dmt.models.description import InputDescription
    from dmt.predict.given import ImageReader

    reader = ImageReader(InputDescription(channels=5, value_range=(0.0, 1000.0)))
    bands = np.random.default_rng(0).integers(0, 1001, (4, 6, 5), dtype=np.uint16)
    np.save(tmp_path / "x.npy", bands)
    wanted = np.rint(bands * (255 / 1000)).astype(np.uint8).transpose(2, 0, 1)
    assert np.array_equal(reader.read(tmp_path / "x.npy", where="").numpy(), wanted)
    assert np.array_equal(reader.read(wanted.transpose(1, 2, 0), where="").numpy(), wanted)
    assert ".npy" in reader.suffixes
    assert ".npy" not in ImageReader(InputDescription(channels=3)).suffixes


def test_a_module_in_place_of_a_factory_is_not_changed(tmp_path: Path) -> None:
    run(tiny_config(method="supervised"), datasets=tiny_parts(), models=TINY_NETWORKS, run_dir=tmp_path / "run")
    own = TINY_NETWORKS["a"]()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    dmt.load(tmp_path / "run", models={"a": own})
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())
    assert isinstance(own, nn.Module)
