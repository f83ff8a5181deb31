"""The page that tells what a finished run did, made from the files of its folder alone."""

from dmt.report.html import summary, write_report

__all__ = ["summary", "write_report"]
