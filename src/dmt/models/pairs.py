"""Two networks that label for each other."""

import warnings

from dmt.config import Config


def warn_equal_starts(config: Config) -> None:
    """Warn of a pair that learns the same: one start, one set of labels, unasked (paper, section 4.1.2)."""
    a, b = config.networks.a, config.networks.b
    # Other options, say another output stride, make another function of the same weights.
    same_start = a.weights is not None and a == b
    is_unsaid = config.rounds.dms_share is None and "dms_share" not in config.rounds.model_fields_set
    if config.scheme == "mutual" and same_start and is_unsaid:
        warnings.warn(
            "networks.a and networks.b start from the same weights; set rounds.dms_share=0.8 so that they learn "
            "different things (paper, section 4.1.2), or rounds.dms_share=null if that is meant.",
            UserWarning,
            stacklevel=2,
        )
