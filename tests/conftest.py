"""What all tests share."""

from pathlib import Path

import pytest
import torch

# The tensors here are tiny: threads would only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two classifiers; nobody may change it."""
    from trained_runs import train_digits  # with what trains, which few tests need

    return train_digits(tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture(scope="session")
def masks_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two networks for masks, whose data are in `data` beside it; nobody may change it."""
    from trained_runs import train_masks

    folder = tmp_path_factory.mktemp("masks")
    return train_masks(folder / "run", folder / "data")
