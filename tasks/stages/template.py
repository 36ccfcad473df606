"""Tokens of the clean rows, with labels on what the model has to generate."""

from typing import Any

from components import cache, media, models, templates
from components.config import Params
from components.errors import ConfigError
from components.files import read_json, replacing_folder, sha256, write_json
from components.models import fitness
from components.tokens import ShapeName, has_labels
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main, progress


def run(params: Params, paths: Paths) -> Result:
    """Write data/tokens from data/clean.

    Raises:
        ConfigError: the model cannot be trained as the parameters say; a base on a hub is first here now.
    """
    if problems := fitness.problems(models.folder(read_json(paths.model), paths.workspace), params):
        raise ConfigError("\n".join(problems))
    kinds = kinds_of(paths)
    chat = chat_template(params, paths, bool(kinds))
    _require_kinds(kinds, chat.media.kinds if chat.media else [], params.model.model)
    # Not in the tokens' own manifest, so that equal tokens look equal to the stages that follow.
    write_json(paths.log("template") / "made_of.json", made_of(params, paths))
    with replacing_folder(paths.tokens) as tokens:
        report = templates.tokenize(
            paths.clean,
            tokens,
            chat,
            shape(paths),
            params.template.max_length,
            params.template.truncation_strategy,
            progress(paths, "template"),
            params.run.dataset_num_proc,
        )
    counted = ("samples", "learnable_tokens") if has_labels(shape(paths)) else ("samples",)
    return {
        **{f"{split}_{name}": count for name in counted for split, count in report[name].items()},
        "refused": len(report["refused"]),
    }


def shape(paths: Paths) -> ShapeName:
    """Return the shape of tokens that the training method learns from, as data/methods.json says."""
    return read_json(paths.methods)["template"]["shape"]


def chat_template(params: Params, paths: Paths, with_media: bool = False) -> templates.ChatTemplate:
    """Return the chat template of the model in data/model.json with the settings of the parameters; `with_media` one
    that takes rows with media, where the model does."""
    settings = params.template
    loss_scale = templates.strategy(settings.loss_scale, plugin_files(params, paths.workspace))
    base = models.folder(read_json(paths.model), paths.workspace)
    model_type = read_json(base / "config.json").get("model_type", "")
    processor = media.load_processor(base, params.multimodal, paths.media) if with_media else None
    return templates.ChatTemplate(
        processor.tokenizer if processor else models.load_tokenizer(base),
        settings.system,
        loss_scale,
        settings.enable_thinking,
        settings.use_chat_template and shape(paths) not in ("text", "pair"),
        settings.response_suffix,
        processor,
        templates.Grounding(model_type, settings.norm_bbox, settings.qwenvl_bbox_format),
    )


def _require_kinds(kinds: list[str], takes: list[str], model: str | None) -> None:
    """Raise ConfigError if rows have media of `kinds` that are not among those that the model `takes`."""
    if other := [f"{kind}s" for kind in kinds if kind not in takes]:
        own = f"{' and '.join(f'{kind}s' for kind in takes)} beside texts" if takes else "texts alone"
        raise ConfigError(
            f"the rows have {' and '.join(other)}, and {model} takes {own}; name another model, or leave these rows out"
        )


def kinds_of(paths: Paths) -> list[str]:
    """Return the kinds of media in the rows. Without any, a model that takes some is trained without its processor."""
    kinds = {kind for file in paths.clean.glob("*.parquet") for kind in media.kinds_in(file)}
    return [kind for kind in media.KINDS if kind in kinds]


def made_of(params: Params, paths: Paths) -> dict[str, Any]:
    """Return all that decides the tokens, by name; the same parts give the same tokens."""
    rows = {path.name: sha256(path) for path in sorted(paths.clean.glob("*.parquet"))}
    return {"rows": rows, **recipe(params, paths)}


def recipe(params: Params, paths: Paths) -> dict[str, Any]:
    """Return all that decides which tokens a row becomes, by name."""
    code = [f"components.{name}" for name in ("media", "plugins", "rows", "templates", "tokens")]
    return {
        "shape": shape(paths),
        **templates.identity(models.folder(read_json(paths.model), paths.workspace)),
        **params.template.model_dump(),
        "multimodal": params.multimodal.model_dump(),
        "processor": media.processor_sha256(models.folder(read_json(paths.model), paths.workspace)),
        "methods": read_json(paths.methods)["template"]["files"],
        "code": cache.code(*code, "tasks.stages.template"),
        "libraries": cache.versions("transformers", "tokenizers", "jinja2", "pillow"),
    }


if __name__ == "__main__":
    main("template", run)
