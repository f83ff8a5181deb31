import copy

import pytest
import torch
from torch import nn

from dmt.errors import CheckpointError, ConfigError
from dmt.models.ema import Ema
from dmt.models.network import Network, Preprocessing


def make_network():
    torch.manual_seed(3)
    backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    return Network(backbone, Preprocessing(mean=(0.3,), std=(0.7,)), num_classes=3, name="tiny")


def train_step(network, seed):
    """A step with momentum-free SGD on random data: changes weights, batch statistics and the batch counter."""
    torch.manual_seed(seed)
    network.zero_grad()
    network(torch.rand(4, 1, 4, 4)).square().mean().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.sub_(0.5 * parameter.grad)


def values(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("warmup", "expected"), [(False, 0.001), (True, 0.9)])
def test_first_update_follows_the_formula_and_not_its_reverse(warmup, expected):
    network = make_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    ema = Ema(network, decay=0.999, warmup=warmup)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
    ema.update()
    for parameter in ema.network.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, expected))


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.6, 0.999])
def test_thirty_updates_equal_a_scalar_loop(decay, warmup):
    network = make_network()
    ema = Ema(network, decay=decay, warmup=warmup)
    slow = {name: tensor.double().flatten().tolist() for name, tensor in network.state_dict().items()}
    for t in range(30):
        train_step(network, seed=t)
        ema.update()
        d = min(decay, (1 + t) / (10 + t)) if warmup else decay
        for name, tensor in network.state_dict().items():
            live = tensor.double().flatten().tolist()
            average = zip(slow[name], live, strict=True)
            slow[name] = [d * s + (1 - d) * x for s, x in average] if tensor.is_floating_point() else live
    for name, tensor in ema.network.state_dict().items():
        assert tensor.flatten().tolist() == pytest.approx(slow[name], rel=1e-4, abs=1e-6), name


def test_batch_statistics_are_averaged_and_counters_copied():
    network = make_network()
    ema = Ema(network, decay=0.75, warmup=False)
    for seed in range(3):
        train_step(network, seed)
    ema.update()
    live, average = network.backbone[1], ema.network.backbone[1]
    assert average.num_batches_tracked == live.num_batches_tracked == 3
    torch.testing.assert_close(average.running_mean, 0.25 * live.running_mean)
    torch.testing.assert_close(average.running_var, 0.75 + 0.25 * live.running_var)
    assert torch.equal(ema.network.mean, network.mean)


def test_the_shadow_starts_as_a_separate_copy_in_eval_mode():
    network = make_network()
    ema = Ema(network, decay=0.9, warmup=True)
    before = values(ema.network)
    assert equal(before, values(network))
    assert network.training
    assert not ema.network.training
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    train_step(network, seed=0)
    assert equal(values(ema.network), before)


def test_restored_average_goes_on_as_if_uninterrupted():
    network = make_network()
    ema = Ema(network, decay=0.999, warmup=True)
    for seed in range(7):
        train_step(network, seed)
        ema.update()
    stored = {name: tensor.clone() for name, tensor in ema.state_dict().items()}, ema.num_updates
    resumed_network = copy.deepcopy(network)
    resumed = Ema(resumed_network, decay=0.999, warmup=True)
    resumed.load_state_dict(stored[0], num_updates=stored[1])
    for seed in range(7, 12):
        for one, average in ((network, ema), (resumed_network, resumed)):
            train_step(one, seed)
            average.update()
    assert resumed.num_updates == ema.num_updates == 12
    assert equal(values(resumed.network), values(ema.network))


def test_foreign_state_is_refused():
    ema = Ema(make_network(), decay=0.9, warmup=False)
    with pytest.raises(CheckpointError, match=r"state\.safetensors does not fit network 'tiny'"):
        ema.load_state_dict({"x": torch.zeros(1)}, num_updates=1, origin="state.safetensors")


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_impossible_decay_is_refused(decay):
    with pytest.raises(ConfigError, match=r"ema\.decay"):
        Ema(make_network(), decay=decay, warmup=True)
