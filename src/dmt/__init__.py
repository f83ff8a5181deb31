"""Few labels, many images: Dynamic Mutual Training for semi-supervised learning."""

__version__ = "0.1.0"
