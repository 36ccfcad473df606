"""Measurements, each with the command that reproduces it.

Martlet's components are imported first, so that transformers finds torchvision as they do.
"""

import components  # noqa: F401
