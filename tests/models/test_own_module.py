"""A user's own networks: copies of a module, fresh ones of a function, and one sentence for anything else."""

from typing import Any

import pytest
from torch import nn

from dmt.errors import ConfigError
from dmt.models.own import own_module


def test_a_module_is_copied() -> None:
    given = nn.Linear(2, 3)
    made = own_module(given, "a")
    assert isinstance(made, nn.Linear)
    assert made.weight is not given.weight
    assert made.weight.equal(given.weight)


@pytest.mark.parametrize("factory", [lambda: nn.Linear(2, 3), nn.Identity])
def test_a_function_or_class_makes_fresh_ones(factory: Any) -> None:
    assert own_module(factory, "a") is not own_module(factory, "a")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("resnet18", r"models\['b'\] is a str; allowed are a torch module, and a function"),
        ({"layers": 3}, r"models\['b'\] is a dict"),
        (lambda: "resnet18", r"models\['b'\] is a function that makes a str"),
        (dict, r"models\['b'\] is a function that makes a dict"),
    ],
)
def test_anything_else_is_told(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        own_module(given, "b")
