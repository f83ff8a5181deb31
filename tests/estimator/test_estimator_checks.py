"""scikit-learn's own checks of an estimator."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import dmt

SKIPPED = {
    "check_classifiers_classes": "takes -1 for a class, which here stands for no label, as in scikit-learn's own "
    "semi-supervised classifiers: the check knows those by name and spares them",
}


@parametrize_with_checks(
    [
        dmt.SemiSupervisedClassifier(
            steps=4, supervised_steps=60, top_fractions=(1.0,), batch_size=32, labeled_per_batch=8
        )
    ],
    expected_failed_checks=lambda _: SKIPPED,
)
@pytest.mark.filterwarnings("ignore:There is no unlabeled image")
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
