"""ms-swift's older name of the engine `transformers`."""

from components.inference.engines.transformers import served

__all__ = ["served"]
