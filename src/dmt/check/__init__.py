"""`dmt check`: everything that is known before any training."""

from dmt.check.report import Report
from dmt.check.story import check

__all__ = ["Report", "check"]
