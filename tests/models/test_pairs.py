import warnings
from typing import Any

import pytest

from dmt.config import Config
from dmt.models.pairs import warn_equal_starts

PAIR = {"a": {"name": "x", "weights": "w"}, "b": {"name": "x", "weights": "w"}}


def pair(**changes: Any) -> Config:
    return Config(**({"task": "segmentation", "data": {"name": "x"}, "networks": PAIR} | changes))


@pytest.mark.parametrize("config", [pair(), pair(networks={})], ids=["given", "default"])
def test_one_start_and_one_set_of_labels_is_a_reason_for_a_warning(config: Config) -> None:
    with pytest.warns(UserWarning, match=r"networks\.a and networks\.b start from the same .*rounds\.dms_share=0\.8"):
        warn_equal_starts(config)


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": {"dms_share": 0.8}},
        {"rounds": {"dms_share": None}},
        {"scheme": "chain"},
        {"networks": {**PAIR, "b": {"name": "y", "weights": "w"}}},
        {"networks": {**PAIR, "b": {"name": "x", "weights": "v"}}},
        {"networks": {**PAIR, "b": {"name": "x"}}},
        {"networks": {**PAIR, "b": {**PAIR["b"], "options": {"output_stride": 32}}}},
        {"networks": {"a": {"name": "x"}, "b": {"name": "x"}}},
    ],
)
def test_a_pair_that_differs_is_none(changes: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_equal_starts(pair(**changes))
