"""Stage `quantize`: one quantized variant of the merged model, compared with it in logits and in greedy answers."""

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components import export, models
from components.config import Params
from components.config.groups.quantize import Quantize
from components.errors import ConfigError
from components.files import read_json, replacing_folder, sha256_tree, write_json, write_text
from components.towers import Parts, has_towers
from tasks.stages.media_rows import with_media
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main

if TYPE_CHECKING:
    import torch

FIGURES = ("quantized_layers", "bytes_before", "bytes_after", "bits_per_weight_after")


def run(params: Params, paths: Paths, variant: str) -> Result:
    """Write models/quantized/VARIANT from models/merged and rows of data/tokens."""
    files, settings = plugin_files(params, paths.workspace), params.quantize
    export.QUANTIZERS.file(variant, files)  # a misspelt name is an error
    if params.model.trust_remote_code:
        models.allow_code(paths.merged)
    count = settings.quant_n_samples if export.calibrates(variant, files) else 0
    samples = export.samples(paths.tokens, count, params.template.max_length)
    samples = with_media(samples, paths.tokens, paths.media, paths.merged, params.multimodal)
    with replacing_folder(paths.quantized / variant) as folder:
        report, speed = quantize_into(folder, paths.merged, samples, variant, settings, files)
    return {key: report[key] for key in FIGURES} | report["against_parent"] | (report["greedy"] or {}) | speed


def problems(source: Path, variant: str, settings: Quantize, external: Sequence[Path] = ()) -> list[str]:
    """Return why the model in `source` cannot be quantized, or loaded afterwards, a sentence each."""
    layers: dict[str, tuple[int, int]] = {}
    environment, stored = (
        export.QUANTIZERS.constant(variant, name, "", external) for name in ("ENVIRONMENT", "STORED")
    )
    sentences = list[str]()
    if environment and models.is_code_allowed(source):
        sentences.append(f"{variant}: its tool runs no code of a model's folder; take bnb")
    elif environment:
        model: Any = models.skeleton(source)
        head = model.get_output_embeddings()
        if head is None:
            sentences.append(f"{variant}: quantizes models that write text, and {source} is a {type(model).__name__}")
        parts = Parts(model)
        layers = {
            name: (layer.in_features, layer.out_features)
            for name, layer in model.named_modules()
            if hasattr(layer, "in_features") and layer is not head and parts.of(name) == "llm"
        }
        if environment == "awq" and has_towers(model):
            sentences.append(
                f"{variant}: AutoAWQ does not read this version of a {type(model).__name__}; take gptq or bnb"
            )
    sentences += export.quantizer_problems(variant, layers, settings, external)
    return sentences + models.loading_problems(stored, f"{variant}: to load what is quantized, Martlet")


def quantize_into(
    folder: Path,
    source: Path,
    samples: export.Samples,
    variant: str,
    settings: Quantize,
    external: Sequence[Path] = (),
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write a quantized variant of the model folder `source` into `folder`.

    Return the content of quantize.json, and the tokens per second of both models' greedy answers.

    Raises:
        ConfigError: naming every reason why the model cannot be quantized so, before it is loaded.
        MartletError: no layer was quantized, the weights are not smaller, a logit is no finite number, or too few
            tokens of the greedy answers are the parent's.
    """
    quantizer = export.QUANTIZERS.load(variant, external)
    if sentences := problems(source, variant, settings, external):
        raise ConfigError("\n".join(sentences))
    if export.calibrates(variant, external):
        export.require_rows(variant, len(samples.calibration), settings)
    before = _outputs(source, samples)
    quantizer.quantize(source, folder, samples.calibration, settings)
    _complete(folder, source)
    sizes = export.quantized_size(source, folder, quantizer.TENSOR)
    after = _outputs(folder, samples, before.answers)
    difference = export.compare(before.logits, after.logits)
    export.require_following(variant, after.following, settings.min_agreement)
    greedy = export.agreement(before.answers, after.answers)
    report = {
        "variant": variant,
        "config": read_json(folder / "config.json").get("quantization_config"),
        "parent": {"sha256": sha256_tree(source)},
        **_calibration(samples, settings),
        "rows": len(samples.rows),
        **sizes,
        "against_parent": difference,
        "greedy": greedy and {"prompts_from": samples.prompts_from, **greedy, "following": after.following},
    }
    write_json(folder / "quantize.json", report)
    own_card = source / "README.md" if (source / "merge.json").is_file() else None
    parent_card = own_card.read_text(encoding="utf-8") if own_card and own_card.is_file() else ""
    write_text(folder / "README.md", export.quantized_card(source.name, report, parent_card))
    return report, {f"tokens_per_second_{when}": outputs.answers.tokens_per_second
                    for when, outputs in (("before", before), ("after", after)) if outputs.answers}  # fmt: skip


def _calibration(samples: export.Samples, settings: Quantize) -> dict[str, Any]:
    """Return what a quantizer calibrated on, by the name under which quantize.json holds that."""
    if not samples.calibration:
        return {}
    tokens = sum(map(len, samples.calibration))
    return {"calibration": {"rows": len(samples.calibration), "tokens": tokens, "group_size": settings.group_size}}


class _Outputs(NamedTuple):
    logits: "list[torch.Tensor]"
    answers: export.Answers | None
    following: float | None


def _outputs(folder: Path, samples: export.Samples, parent: export.Answers | None = None) -> _Outputs:
    """Return the logits of the model in `folder` on rows, its greedy answers if it writes text, and the share of the
    tokens of its parent's answers that it would choose."""
    model = models.load_model(folder)
    return _Outputs(
        export.logits(model, samples.rows),
        export.greedy_answers(model, samples.prompts),
        export.following(model, samples.prompts, parent),
    )


def _complete(folder: Path, source: Path) -> None:
    """Put beside quantized weights what lies beside those of their parent."""
    tokenizer = models.load_tokenizer(source)
    models.copy_companions(source, folder, tokenizer)
    export.save_stop_tokens(folder, tokenizer)
    if (source / "args.json").is_file():  # says how the model wants to be asked
        shutil.copy2(source / "args.json", folder)


if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else ""
    main(f"quantize@{variant}", partial(run, variant=variant))
