"""What is said of keys of `data` that a source of images does not know."""

import warnings
from typing import Any

import pytest

from dmt.config_files import load_config
from dmt.config_sections import DataConfig
from dmt.data.unused_keys import tell_unused
from dmt.errors import ConfigError
from dmt.loading import load_data
from tiny_runs import tiny_config, tiny_parts


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("digits", ["validation", "test", "channels", "shards", "class_names", "annotations"]),
        ("folder", ["annotations", "allow_outside"]),
        ("manifest", ["annotations"]),
        ("coco", ["allow_outside"]),
    ],
)
def test_each_key_without_effect_is_told(name: str, keys: list[str]) -> None:
    values: dict[str, Any] = {"validation": "x", "test": "x", "channels": 1, "shards": "x", "class_names": "x"}
    config = DataConfig(name=name, **values, annotations="x", allow_outside=name != "digits")
    with pytest.warns(UserWarning, match="has no effect on") as caught:
        tell_unused(config, task="segmentation", is_own=name != "digits")
    assert [str(one.message) for one in caught] == [f"data.{key} has no effect on {name}." for key in keys]


@pytest.mark.parametrize("name", ["voc", "cityscapes", "camvid", "scenes"])
def test_published_masks_ignore_one_value(name: str) -> None:
    values: dict[str, Any] = {"task": "segmentation", "data": {"name": name}}
    tell_unused(load_config(values).data, task="segmentation", is_own=False)
    tell_unused(DataConfig(name=name), task="segmentation", is_own=False)
    with pytest.raises(ConfigError, match=rf"data\.ignore_index is 0, but what the masks of {name} ignore is 255"):
        tell_unused(load_config(values, ["data.ignore_index=0"]).data, task="segmentation", is_own=False)
    tell_unused(load_config(values, ["data.ignore_index=0"]).data, task="segmentation", is_own=True)


def test_keys_of_files_are_told_where_images_are_given() -> None:
    def config(**changes: Any) -> Any:
        return load_config(tiny_config(data={"name": "stripes", "num_labeled": 9, **changes}))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_data(config(class_names=["a", "b", "c"]), tiny_parts()).class_names == ("a", "b", "c")
    for key, value in {"root": "x", "validation": "x", "channels": 1}.items():
        with pytest.warns(UserWarning, match=rf"data\.{key} has no effect on images that are given as `datasets`"):
            load_data(config(**{key: value}), tiny_parts())
