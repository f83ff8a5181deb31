"""`dmt init`: from a folder of images to a config to begin with."""

from dmt.init.story import Start, start, write

__all__ = ["Start", "start", "write"]
