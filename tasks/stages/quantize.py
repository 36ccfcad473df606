"""Stage `quantize`: one quantized variant of the merged model, compared with it in logits and in greedy answers."""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components import export, models
from components.config import Params
from components.config.groups.quantize import Quantize
from components.files import read_json, replacing_folder, sha256_tree, write_json, write_text
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main

if TYPE_CHECKING:
    import torch

FIGURES = ("quantized_layers", "bytes_before", "bytes_after", "bits_per_weight_after")


def run(params: Params, paths: Paths, variant: str) -> Result:
    """Write models/quantized/VARIANT from models/merged and a few rows of data/tokens."""
    quantizer = export.QUANTIZERS.load(variant, plugin_files(params, paths.workspace))
    if params.model.trust_remote_code:
        models.allow_code(paths.merged)
    samples = export.samples(paths.tokens)
    with replacing_folder(paths.quantized / variant) as folder:
        report, speed = quantize_into(folder, paths.merged, samples, variant, quantizer, params.quantize)
    return {key: report[key] for key in FIGURES} | report["against_parent"] | (report["greedy"] or {}) | speed


def quantize_into(
    folder: Path,
    source: Path,
    samples: export.Samples,
    variant: str,
    quantizer: export.Quantizer,
    settings: Quantize,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write a quantized variant of the model folder `source` into `folder`.

    Return the content of quantize.json, and the tokens per second of both models' greedy answers.

    Raises:
        MartletError: no layer was quantized, the weights are not smaller, a logit is no finite number, or too few
            tokens of the greedy answers are the parent's.
    """
    before = _outputs(source, samples)
    quantizer.quantize(source, folder, samples.rows)
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
