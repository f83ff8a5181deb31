import torch

from dmt.models.network import check_output
from dmt.models.registry import build_network
from dmt.models.small_mlp import small_mlp


def test_features_become_logits() -> None:
    assert small_mlp(num_classes=4, in_features=9)(torch.randn(5, 9, 1, 1)).shape == (5, 4)


def test_each_feature_is_standardized_by_its_own_mean_and_std() -> None:
    """Numbers of any size: a feature that counts in millions says no more than one that counts in thousandths."""
    mean, std = [1e6, -2.0, 0.001], [1e5, 3.0, 1e-4]
    network = build_network("small_mlp", num_classes=2, channels=3, mean=mean, std=std)
    check_output(network, torch.zeros(2, 3, 1, 1))
    features = torch.tensor([mean, [m + s for m, s in zip(mean, std, strict=True)]])[:, :, None, None]
    expected = torch.tensor([[0.0] * 3, [1.0] * 3])
    torch.testing.assert_close(network.preprocess(features).flatten(1), expected, atol=1e-4, rtol=1e-4)
