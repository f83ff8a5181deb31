"""Running networks over whole sets: every image once, in whatever batches and processes."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dmt.data.parts import Part, UnlabeledPart
from dmt.engine import Engine
from dmt.errors import ConfigError
from dmt.inference import batches_of_one_size, infer
from dmt.progress import Silent
from tiny_runs import MaskedArrays, masked_images, striped_images, tiny_mask_network

SIZES = ((8, 9), (6, 7), (8, 9), (5, 6), (6, 7), (9, 8))


def mixed(count: int = 13) -> MaskedArrays:
    return masked_images(count, seed=0, sizes=SIZES)


def engine_of(rank: int = 0, world_size: int = 1) -> Engine:
    """One of several processes, as far as sharing out is concerned."""
    engine = Engine("fp32")
    engine.rank, engine.world_size = rank, world_size
    return engine


def network() -> nn.Module:
    torch.manual_seed(0)
    return tiny_mask_network().eval()


def predict(
    networks: Sequence[nn.Module], part: Any, *, engine: Engine | None = None, batch_size: int = 4, **settings: Any
) -> list[tuple[list[int], list[Tensor]]]:
    arguments: dict[str, Any] = {"workers": 0, "title": "try", "observer": Silent(), **settings}
    return list(infer(networks, part, engine=engine or engine_of(), batch_size=batch_size, **arguments))


def by_position(answers: Sequence[tuple[list[int], list[Tensor]]], network: int = 0) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    for positions, logits in answers:
        for position, own in zip(positions, logits[network], strict=True):
            assert position not in found, "an image was predicted twice"
            found[position] = own
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
@pytest.mark.parametrize("count", [0, 1, 5, 13])
def test_batches_have_one_size_and_hold_every_image_once(count: int, batch_size: int) -> None:
    source = mixed(count)
    part = Part(source, tuple(range(count)))
    batches = batches_of_one_size(part, batch_size)
    assert sorted(position for batch in batches for position in batch) == list(range(count))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert len({source.size(position) for position in batch}) == 1
    # No more batches than the sizes need.
    numbers = [sum(source.size(position) == size for position in range(count)) for size in set(SIZES)]
    assert len(batches) == sum(-(-number // batch_size) for number in numbers)


def test_images_of_one_size_keep_their_order() -> None:
    images, labels = striped_images(10, seed=0)

    class OneSize(MaskedArrays):
        def size(self, index: int) -> tuple[int, int]:
            return 8, 8

    part = Part(OneSize(list(images), list(labels), "train"), tuple(range(10)))
    assert batches_of_one_size(part, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 50])
def test_a_prediction_does_not_hang_on_the_batch(batch_size: int) -> None:
    """The answers are those for each image alone, at its own size and unaugmented."""
    source, model = mixed(), network()
    found = by_position(predict([model], Part(source, tuple(range(13))), batch_size=batch_size))
    assert sorted(found) == list(range(13))
    for position, logits in found.items():
        with torch.no_grad():
            alone = model(source.pixels[position][None].float() / 255)[0]
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_of_no_images_is_refused(batch_size: int) -> None:
    with pytest.raises(ConfigError, match=rf"batch_size: found {batch_size}; it may be a whole number from 1"):
        list(predict([network()], Part(mixed(), (0, 1)), batch_size=batch_size))


def test_positions_are_those_of_the_part() -> None:
    source, model = mixed(), network()
    chosen = (12, 3, 7, 0, 1)
    everything = by_position(predict([model], Part(source, tuple(range(13)))))
    for part in (Part(source, chosen), UnlabeledPart(source, chosen, has_truth=False)):
        found = by_position(predict([model], part))
        assert sorted(found) == [0, 1, 2, 3, 4]
        for position, index in enumerate(chosen):
            torch.testing.assert_close(found[position], everything[index], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 40])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_every_image_once(world_size: int, batch_size: int) -> None:
    part, model = Part(mixed(), tuple(range(13))), network()
    shares = [
        by_position(predict([model], part, engine=engine_of(rank, world_size), batch_size=batch_size))
        for rank in range(world_size)
    ]
    assert sorted(position for share in shares for position in share) == list(range(13))
    whole = by_position(predict([model], part, batch_size=batch_size))
    for share in shares:
        assert all(torch.equal(logits, whole[position]) for position, logits in share.items())


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(workers: int) -> None:
    part, model = Part(mixed(), tuple(range(13))), network()
    found = predict([model], part, workers=workers)
    plain = predict([model], part)
    assert [positions for positions, _ in found] == [positions for positions, _ in plain]
    assert all(torch.equal(one[0], other[0]) for (_, one), (_, other) in zip(found, plain, strict=True))


def test_several_networks_get_the_same_images() -> None:
    part, first, second = Part(mixed(), tuple(range(13))), network(), tiny_mask_network().eval()
    together = predict([first, second], part)
    for number, model in enumerate((first, second)):
        alone = by_position(predict([model], part))
        assert all(torch.equal(logits, alone[p]) for p, logits in by_position(together, number).items())


def test_networks_are_left_as_they_were() -> None:
    """They answer with running statistics, do not learn any, and go on in their own mode."""
    training, resting = network().train(), network().eval()
    before = {name: value.clone() for name, value in training.state_dict().items()}
    part = Part(mixed(), tuple(range(13)))
    found = predict([training, resting], part)
    assert training.training
    assert not resting.training
    assert all(torch.equal(value, before[name]) for name, value in training.state_dict().items())
    for _, (one, other) in found:
        assert torch.equal(one, other)
        assert not one.requires_grad


def test_an_error_leaves_networks_as_they_were() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("out of order")

    model = Broken().train()
    with pytest.raises(RuntimeError, match="out of order"):
        predict([model], Part(mixed(), (0, 1)))
    assert model.training


def test_logits_are_fp32_whatever_the_run_trains_in() -> None:
    part, model = Part(mixed(), tuple(range(13))), network()
    plain = by_position(predict([model], part))
    found = by_position(predict([model], part, engine=Engine("bf16")))
    assert all(torch.equal(logits, plain[position]) for position, logits in found.items())


class Recorder(Silent):
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def task_started(self, title: str, total: int, done: int = 0) -> None:
        self.told.append(("started", title, total))

    def task_advanced(self, done: int, note: str = "") -> None:
        self.told.append(("done", done))

    def task_finished(self) -> None:
        self.told.append(("finished",))


@pytest.mark.parametrize("world_size", [1, 2])
def test_progress_ends_at_the_number_of_images(world_size: int) -> None:
    recorder = Recorder()
    part = Part(mixed(), tuple(range(13)))
    predict([network()], part, engine=engine_of(0, world_size), observer=recorder, batch_size=2)
    assert recorder.told[0] == ("started", "try", 13)
    assert recorder.told[-1] == ("finished",)
    done = [entry[1] for entry in recorder.told[1:-1]]
    assert done == sorted(done)
    assert all(0 < one <= 13 for one in done)
    if world_size == 1:
        assert done[-1] == 13
