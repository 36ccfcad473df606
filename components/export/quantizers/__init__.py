"""Quantizers: one file per variant (`bnb-int8` is bnb_int8.py), named in `quantize.variants`."""

from pathlib import Path
from typing import Protocol

from components.plugins import Kind


class Quantizer(Protocol):
    """What a quantizer's file defines. `TENSOR` is how the name of a tensor ends that only a quantized layer has."""

    TENSOR: str

    def quantize(self, source: Path, folder: Path, rows: list[list[int]]) -> None:
        """Write weights and config.json of the quantized model.

        Args:
            source: the model folder to quantize.
            folder: the folder to write into.
            rows: token ids to calibrate on.
        """
        ...


QUANTIZERS = Kind("quantizer", "quantize.variants", "components.export.quantizers", Quantizer, "-")
