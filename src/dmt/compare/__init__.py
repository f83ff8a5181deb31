"""Methods and settings side by side: paired splits, the same budget, every run kept, so that nothing runs twice."""

from dmt.compare.candidates import Candidate, candidates_of, parse_seeds
from dmt.compare.comparison import Comparison, Row
from dmt.compare.runs import compare
from dmt.compare.tables import as_csv, as_markdown, as_table_csv

__all__ = [
    "Candidate",
    "Comparison",
    "Row",
    "as_csv",
    "as_markdown",
    "as_table_csv",
    "candidates_of",
    "compare",
    "parse_seeds",
]
