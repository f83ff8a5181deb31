"""Trained networks for elsewhere: a bundle that this program loads, or an ONNX file that others run."""

from dmt.export.bundles import export_bundle, export_onnx
from dmt.export.onnx_file import Agreement

__all__ = ["Agreement", "export_bundle", "export_onnx"]
