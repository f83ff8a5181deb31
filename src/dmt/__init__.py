"""Few labels, many images: Dynamic Mutual Training for semi-supervised learning.

`dmt.run(config)` trains; `dmt.load(folder)` has what it trained answer; `dmt.SemiSupervisedClassifier` and
`dmt.SemiSupervisedSegmenter` do both in scikit-learn's manner; `dmt.losses` and `dmt.selection` are the paper's
formulas as plain functions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmt import losses as losses
    from dmt import selection as selection
    from dmt.estimator import SemiSupervisedClassifier as SemiSupervisedClassifier
    from dmt.estimator import SemiSupervisedSegmenter as SemiSupervisedSegmenter
    from dmt.predict import load as load
    from dmt.run import run as run

__version__ = "0.1.0"
__all__ = ["SemiSupervisedClassifier", "SemiSupervisedSegmenter", "load", "losses", "run", "selection"]

_MODULE_OF = {
    "SemiSupervisedClassifier": "dmt.estimator",
    "SemiSupervisedSegmenter": "dmt.estimator",
    "load": "dmt.predict",
}
"""Of names that are no modules themselves."""


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for: torch takes seconds, and `dmt --help` needs none of it."""
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    if name in __all__:
        return import_module(f"dmt.{name}")
    raise AttributeError(f"module 'dmt' has no attribute {name!r}")
