"""What both estimators share: a fit by a run, answers batch by batch, files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from dmt.config import Config
from dmt.data.images import DataSet, ImageSet
from dmt.engine import Engine
from dmt.errors import DataError
from dmt.estimator.forms import Form
from dmt.estimator.given import kind_of
from dmt.estimator.settings import DATA_NAME
from dmt.estimator.stored import load_estimator, save_estimator
from dmt.estimator.training import train
from dmt.inference import infer
from dmt.models.description import Description
from dmt.models.network import Network
from dmt.predict.predictor import Window
from dmt.progress import Silent

_OF_TABLES = ("n_features_in_", "feature_names_in_")


class Estimator(BaseEstimator):  # type: ignore[misc]
    """The common part of both estimators."""

    batch_size: int
    run_dir: str | Path | None
    verbose: int
    form_: Form
    network_: Network
    model_: Description
    history_: list[dict[str, Any]]
    n_iter_: int
    result_: Mapping[str, Any]
    run_dir_: Path | None

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator into a folder: its weights as safetensors, all else as JSON.

        Where it was fitted on files or arrays of uint8, the folder is also a bundle for `dmt.load` and `dmt predict`.

        Args:
            path: a new or empty folder, or one with an earlier estimator, which is replaced.

        Raises:
            ExportError: the folder holds other files.
            ConfigError: it is a file, or nothing can be written there.
        """
        check_is_fitted(self)
        save_estimator(self, Path(path).expanduser())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The estimator that `save` wrote.

        Raises:
            CheckpointError: the folder holds none, another kind of estimator, or broken files.
        """
        return load_estimator(cls, Path(path).expanduser())

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """X, where it is a table, as scikit-learn checks it; features are counted and named by `reset`."""
        if isinstance(X, str | Path):
            raise DataError(f"X is the path {str(X)!r}; a list of paths is needed, one of each image file.")
        if kind_of(X) == "rows":
            return validate_data(self, X, reset=reset)
        if len(X) == 0:
            raise DataError("X holds no image; one or more is needed.")
        for name in _OF_TABLES if reset else ():
            self.__dict__.pop(name, None)
        return X

    def _train(self, config: Config, form: Form, images: ImageSet, class_names: tuple[str, ...]) -> None:
        """Fit to images with labels."""
        mean, std = form.statistics(images)
        data = DataSet(name=DATA_NAME, class_names=class_names, train=images, test=None, mean=mean, std=std)
        fitted = train(config, data, run_dir=self.run_dir, verbose=self.verbose)
        self.form_ = form
        self.network_, self.model_ = fitted.network, fitted.model
        self.result_, self.run_dir_ = fitted.result, fitted.folder
        self.history_ = [dict(row) for row in fitted.result["rounds"]]
        self.n_iter_ = max(row["round"] for row in self.history_)

    def _logits(self, images: ImageSet) -> Iterator[tuple[list[int], Tensor]]:
        """Positions of a batch's images and their logits `(n, C, *S)`, on the CPU."""
        engine = Engine("fp32", alone=True)
        # Very large images are seen through windows, as everywhere.
        network = Window().over(engine.place(self.network_), self.model_)
        batches = infer(
            [network],
            images,
            engine=engine,
            batch_size=self.batch_size,
            workers=0,
            title="prediction",
            observer=Silent(),
        )
        try:
            for positions, logits in batches:
                yield positions, logits[0].cpu()
        finally:
            # Where a copy of the estimator can be read without a GPU.
            self.network_.cpu()
