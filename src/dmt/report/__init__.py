"""The page that tells what a finished run did, made from its folder's files, and pictures of what networks see."""

from dmt.report.html import summary, write_report
from dmt.report.pictures import write_pictures

__all__ = ["summary", "write_pictures", "write_report"]
