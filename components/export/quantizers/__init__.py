"""Quantizers: one file per variant (`bnb-int8` is bnb_int8.py), named in `quantize.variants`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from components import environments
from components.config.groups.quantize import Quantize
from components.errors import ConfigError
from components.plugins import Kind

METHODS = {
    "bnb": {8: "bnb-int8", 4: "bnb-nf4"},
    "gptq": {4: "gptq-int4", 8: "gptq-int8"},
    "awq": {4: "awq-int4"},
    "fp8": {8: "fp8"},
}
"""Quantizers that ms-swift's `--quant_method` means, by `--quant_bits`."""
MIN_ROWS = 16
"""Rows without which a quantizer has seen too little, unless `quant_n_samples` asks for fewer."""
GROUP_SIZES = (128, 64, 32)
"""Group sizes that the kernels of engines know."""


class Quantizer(Protocol):
    """What a quantizer's file defines. `TENSOR` is how the name of a tensor ends that only a quantized layer has.

    It may also declare, by constants:

    - `CALIBRATES = True`: it reads rows, `group_size`, `quant_n_samples` and `quant_batch_size`;
    - `ENVIRONMENT = "awq"`: the side environment in which its tool lives;
    - `STORED = "awq"`: the method in the config.json that it writes, which may need packages to be loaded;
    - `OUTPUTS = 64`: what divides the outputs of each linear layer.
    """

    TENSOR: str

    def quantize(self, source: Path, folder: Path, rows: list[list[int]], settings: Quantize) -> None:
        """Write weights and config.json of the quantized model.

        Args:
            source: the model folder to quantize.
            folder: the folder to write into.
            rows: token ids to calibrate on; none for a quantizer that does not calibrate.
            settings: group size and batch size.
        """
        ...


QUANTIZERS = Kind("quantizer", "quantize.variants", "components.export.quantizers", Quantizer, "-")


def variant_of(method: str, bits: int | None) -> str:
    """Return the quantizer that `--quant_method` and `--quant_bits` mean: of ms-swift's methods by their bits, by
    default the fewest; any other name is a quantizer's own.

    Raises:
        ConfigError: the method does not have these bits.
    """
    if method not in METHODS:
        return method
    variants = METHODS[method]
    if bits is not None and bits not in variants:
        raise ConfigError(f"--quant_bits {bits}: {method} has {' or '.join(map(str, sorted(variants)))} bits")
    return variants[bits or min(variants)]


def calibrates(variant: str, external: Sequence[Path] = ()) -> bool:
    """Return whether a quantizer reads rows."""
    return QUANTIZERS.constant(variant, "CALIBRATES", False, external)


def problems(
    variant: str, layers: Mapping[str, tuple[int, int]], settings: Quantize, external: Sequence[Path] = ()
) -> list[str]:
    """Return why a model cannot be quantized so, a sentence each.

    Args:
        layers: inputs and outputs of each linear layer of the model but the head.
    """
    sentences: list[str] = []
    if environment := QUANTIZERS.constant(variant, "ENVIRONMENT", None, external):
        try:
            environments.require(environment)
        except ConfigError as error:
            sentences.append(f"{variant}: {error}")
    group_size = settings.group_size if calibrates(variant, external) else -1
    return sentences + _indivisible(variant, layers, group_size, QUANTIZERS.constant(variant, "OUTPUTS", 1, external))


def require_rows(variant: str, rows: int, settings: Quantize) -> None:
    """Check that there are enough rows to calibrate on.

    Raises:
        ConfigError: there are fewer than `MIN_ROWS`, or than `quant_n_samples` where that is less.
    """
    needed = min(MIN_ROWS, settings.quant_n_samples)
    if rows < needed:
        raise ConfigError(
            f"{variant}: calibrates on {needed} rows at least, and there are {rows}; name more with --dataset, or ask "
            "for fewer with --quant_n_samples"
        )


def _indivisible(variant: str, layers: Mapping[str, tuple[int, int]], group_size: int, multiple: int) -> list[str]:
    """Return a sentence if groups do not divide the inputs of a layer, and one if `multiple` does not its outputs."""
    sentences: list[str] = []
    odd = next((name for name, (inputs, _) in layers.items() if group_size > 0 and inputs % group_size), None)
    if odd:
        fits = [size for size in GROUP_SIZES if not any(inputs % size for inputs, _ in layers.values())]
        advice = f"take {' or '.join(map(str, fits))}" if fits else "no usual size does; take bnb"
        sentences.append(f"group_size: {group_size} does not divide the {layers[odd][0]} inputs of {odd}; {advice}")
    odd = next((name for name, (_, outputs) in layers.items() if outputs % multiple), None)
    if odd:
        sentences.append(
            f"{variant}: the {layers[odd][1]} outputs of {odd} are no multiple of {multiple}; take gptq or bnb"
        )
    return sentences
