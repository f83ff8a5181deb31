"""Networks: backbones with their own preprocessing, their weight files, and the moving average of their weights."""

from dmt.models.ema import Ema
from dmt.models.network import Network, Preprocessing, check_output
from dmt.models.registry import MODELS, build_network, family_of
from dmt.models.weights import LoadReport, load_weights, read_metadata, save_weights

__all__ = [
    "MODELS",
    "Ema",
    "LoadReport",
    "Network",
    "Preprocessing",
    "build_network",
    "check_output",
    "family_of",
    "load_weights",
    "read_metadata",
    "save_weights",
]
