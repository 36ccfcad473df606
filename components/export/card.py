"""Model cards: base, tuner, training, data and results of a merged model. Equal runs give equal cards."""

from collections.abc import Mapping, Sequence
from typing import Any

Table = Mapping[str, Any]

HEAD = """\
---
library_name: transformers
pipeline_tag: text-generation{base_field}
tags:
- martlet
---

# {name}, fine-tuned

{how}
"""
MERGED = """\
Made from `{model}` with Martlet, and merged into plain weights: transformers and the engines load this folder as it
is, without an adapter and without remote code.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
```"""
NOT_MERGED = """\
Made from `{model}` with Martlet: the base, and in the folder `adapter` what was trained, which cannot be merged into
weights. Martlet applies it when it loads this folder; anything else loads the base alone."""
OWN_CODE = """\
**This model brings its own code**, that of its base: it loads with `trust_remote_code=True` alone. Read the `.py` files
of this folder first."""
QUANTIZED = """\
`{name}`, quantized by Martlet as `{variant}`: transformers loads this folder with the package of the method."""
QUANTIZATION = (
    "variant", "config", "calibration", "quantized_layers", "weights", "bytes_before", "bytes_after",
    "bits_per_weight_before", "bits_per_weight_after",
)  # fmt: skip
DATA = ("rows", "samples", "learnable_tokens", "system", "max_length", "template_sha256", "tokenizer_sha256")
METRICS = ("steps", "epochs", "tokens", "first_loss", "loss", "eval_loss", "best_eval_loss")


def model_card(
    identity: Table,
    arguments: Table,
    data: Table,
    data_sha256: str | None,
    metrics: Table,
    proof: Table,
    tuner_groups: Sequence[str] = (),
) -> str:
    """Return a model card in Hugging Face's format.

    Args:
        identity: the base, as in data/model.json.
        arguments: the arguments of the training, as in the adapter's args.json.
        data: the report of the stage `template`, or an empty table.
        data_sha256: hash of the training's token file, or None.
        metrics: the report of the training, or an empty table.
        proof: the differences of the merged model's logits; `merged` is None where the adapter stays one.
        tuner_groups: the groups of parameters in `arguments` that the tuner reads, beside `tuner`.
    """
    # `base_model` names a model of the Hugging Face hub; a base from elsewhere leaves the field out.
    base_field = f"\nbase_model: {identity['model']}" if identity["source"] == "huggingface" else ""
    name = str(identity["model"]).rstrip("/").rpartition("/")[2]
    sections = {
        "Base": identity,
        "Tuner": {key: value for group in ("tuner", *tuner_groups) for key, value in arguments.get(group, {}).items()},
        "Training": arguments["train"],
        "Data": {"sha256": data_sha256, **{key: data.get(key) for key in DATA}},
        "Results": {key: metrics.get(key) for key in METRICS},
        "Merging, in logits": proof,
    }
    how = (MERGED if proof["merged"] else NOT_MERGED).format(model=identity["model"])
    if identity.get("trust_remote_code"):
        how = f"{OWN_CODE}\n\n{how.replace(' and without remote code', '')}"
    head = HEAD.format(base_field=base_field, name=name, how=how)
    return "\n".join([head, *(_section(title, table) for title, table in sections.items())])


def quantized_card(name: str, report: Table, parent_card: str = "") -> str:
    """Return the model card of a quantized model: its parent, its quantization, the figures, and what `parent_card`,
    the card of a parent that Martlet wrote, says of base, training and data.

    Args:
        name: the parent, for people.
        report: the content of quantize.json.
    """
    base = next((line for line in parent_card.splitlines() if line.startswith("base_model: ")), "")
    how = QUANTIZED.format(name=name, variant=report["variant"])
    head = HEAD.format(base_field=base and f"\n{base}", name=name, how=how).replace("fine-tuned", report["variant"])
    sections = {
        "Parent": {"name": name, **report["parent"]},
        "Quantization": {key: report[key] for key in QUANTIZATION if key in report},
        "Compared with the parent, in logits": report["against_parent"],
        "Compared with the parent, in greedy answers": report["greedy"] or {},
    }
    lineage = parent_card[at:] if (at := parent_card.find("## Base\n")) > 0 else ""
    return "\n".join([head, *(_section(title, table) for title, table in sections.items()), lineage])


def _section(title: str, table: Table) -> str:
    rows = [f"| {key} | {_cell(value)} |" for key, value in table.items() if value not in (None, [], {})]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *rows, ""]) if rows else ""


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
