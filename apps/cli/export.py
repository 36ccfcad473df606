"""Merge an adapter into its base, quantize a model, write a Modelfile for Ollama, upload to a hub.

  martlet export --adapters output/first/checkpoint-20 --merge_lora true
  martlet export --model models/base --quant_method bnb --quant_bits 8 \\
    --output_dir models/base-int8
  martlet export --model models/base --quant_method gptq --quant_bits 4 \\
    --group_size 64 --dataset examples/identity.jsonl
"""

import argparse
from pathlib import Path
from typing import Any

from components import export
from components.config import read_flags, resolve
from components.config.groups.quantization import Quantization
from components.errors import ConfigError
from components.hub.upload import upload
from tasks import effects, exporting, target
from tasks.stages.paths import plugin_files

PARAMETERS = (
    "run.adapters", "run.merge_lora", "model", "data.use_hf", "merge", "plugins",
    "quantization.quant_method", "quantization.quant_bits", "quantize.group_size", "quantize.quant_n_samples",
    "quantize.quant_batch_size", "quantize.min_agreement", "data.dataset", "data.val_dataset", "template.max_length",
    "run.output_dir", "export",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    params = resolve(read_flags(flags))
    method, files = params.quantization.quant_method, plugin_files(params, Path.cwd())
    if not (method or params.run.merge_lora or params.export.to_ollama or params.export.push_to_hub):
        raise ConfigError(
            "export what? --merge_lora true merges an adapter, --quant_method bnb quantizes a model, --to_ollama true "
            "writes a Modelfile, --push_to_hub true uploads"
        )
    variant = export.variant_of(method, flags.get("quant_bits") and params.quantization.quant_bits) if method else None
    if variant:
        export.QUANTIZERS.file(variant, files)  # a misspelt name is an error
    effects.require(flags, params, effects.export(bool(variant) and export.calibrates(variant, files)))
    if params.export.push_to_hub:
        exporting.require_hub(params)
    output = Path(flags["output_dir"]) if "output_dir" in flags else None
    of_source = {name: value for name, value in flags.items() if name not in Quantization.model_fields}
    source = target.find(of_source, print)
    if source.adapter and not params.run.merge_lora and (variant or params.export.to_ollama):
        what = "--quant_method" if variant else "--to_ollama"
        raise ConfigError(f"{what}: merge the adapter into the model first, with --merge_lora true")
    if params.export.to_ollama:
        exporting.require_texts(source.model)
    model = target.merged(source, print, None if variant else output)
    result = model.adapter or model.model
    if variant:
        result, report = exporting.quantized(model.model, variant, output, model.params)
        print(f"{variant} in {result}", *_figures(report), sep="\n  ")
    if params.export.to_ollama:
        file = exporting.modelfile(result, None if params.run.merge_lora else output, model.params)
        print(f"{file}\n  ollama create {file.parent.name} -f {file}")
    if params.export.push_to_hub:
        to = params.export
        print(f"uploaded: {upload(result, str(to.hub_model_id), to.hub_private_repo, to.commit_message)}")


def _figures(report: dict[str, Any]) -> list[str]:
    """Return what the report of a quantization says, a line each."""
    logits, greedy = report["against_parent"], report["greedy"]
    before, after = report["bytes_before"], report["bytes_after"]
    lines = [
        f"{before:,} bytes became {after:,}: {report['bits_per_weight_after']:g} bits a weight",
        f"logits: differ by {logits['mean_abs_difference']:g} on average, by at most {logits['max_abs_difference']:g}",
    ]
    if greedy:
        lines += [
            f"greedy answers to {greedy['prompts']} {greedy['prompts_from']}: {greedy['token_agreement']:.1%} of the "
            f"tokens are the parent's, and {greedy['answer_agreement']:.1%} of the answers",
            f"tokens a second: {report['tokens_per_second_after']:,.0f}; the parent: "
            f"{report['tokens_per_second_before']:,.0f}",
        ]
    return lines
