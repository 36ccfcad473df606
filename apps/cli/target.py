"""Which model a command means: `--adapters`, `--model`, or the champion of the workspace."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from components.config import Layer, Params, read_flags, read_mapping, read_yaml, resolve
from components.errors import ConfigError, did_you_mean
from components.files import is_complete, read_json, replacing_folder, write_json

PARAMETERS = (
    "generation", "run.adapters", "run.merge_lora", "model", "data.use_hf",
    "template.system", "train.torch_dtype", "train.attn_impl",
)  # fmt: skip


class Target(NamedTuple):
    """A model folder, the LoRA adapter to put on it if any, and the parameters: flags over saved arguments."""

    model: Path
    adapter: Path | None
    params: Params


def find(given: dict[str, Any]) -> Target:
    """Find the model that the flags in `given` mean, and the parameters that hold for it.

    Raises:
        ConfigError: nothing is named and there is no champion, or what is named is not there.
    """
    from components import models

    adapters = given.get("adapters", [])
    if len(adapters) > 1:
        raise ConfigError(f"--adapters: one folder at a time, not {len(adapters)}")
    if adapters:
        return _with_adapter(Path(adapters[0]), given)
    if "model" in given:
        params = resolve(read_flags(given))
        assert params.model.model
        identity = models.resolve(params.model.model, params.model.model_revision, params.data.use_hf, Path.cwd())
        return Target(models.folder(identity, Path.cwd()), None, params)
    return _champion(given)


def _with_adapter(adapter: Path, given: dict[str, Any]) -> Target:
    from components import models

    saved = adapter / "args.json"
    if not adapter.is_dir():
        siblings = [found.name for found in adapter.parent.glob("checkpoint-*")]
        raise ConfigError(f"--adapters {adapter}: no such folder{did_you_mean(adapter.name, siblings)}")
    if not saved.is_file():
        raise ConfigError(f"--adapters {adapter}: no saved arguments (args.json) there; is it a checkpoint folder?")
    params = resolve(_saved_arguments(saved), read_flags(given))
    if not params.model.model:
        raise ConfigError(f"{saved}: no base model is named there; name it with --model")
    if not (adapter / "adapter_config.json").is_file():  # full training: the checkpoint is the model
        return Target(adapter, None, params)
    workspace = _where_it_was_trained(adapter, params.model.model)
    identity = models.resolve(params.model.model, params.model.model_revision, params.data.use_hf, workspace)
    return Target(models.folder(identity, workspace), adapter, params)


def _saved_arguments(file: Path) -> Layer:
    try:
        saved = read_json(file)
        identity, name = saved["model"], saved["model"]["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not the saved arguments of a run ({error!r}); take another checkpoint") from error
    return read_mapping(
        {
            "model": name,
            "model_revision": identity.get("revision") or identity.get("model_revision"),
            "use_hf": identity.get("source") == "huggingface",
            **{group: saved[group] for group in ("template", "tuner", "train") if group in saved},
        },
        str(file),
    )


def _where_it_was_trained(adapter: Path, model: str) -> Path:
    """A relative model folder is looked up from here, then from the folders that hold the checkpoint."""
    places = [Path.cwd(), *adapter.resolve().parents]
    return next((place for place in places if (place / model).is_dir()), Path.cwd())


def _champion(given: dict[str, Any]) -> Target:
    workspace = Path("params.yaml")
    if not workspace.is_file():
        raise ConfigError("which model? name a checkpoint with --adapters, or a model with --model")
    from components import registry

    params = resolve(read_yaml(workspace), read_flags(given))
    name = params.registry.registered_model_name
    champion = registry.champion(name, Path.cwd())
    if champion is None:
        raise ConfigError(f"'{name}' has no champion yet: `martlet run` makes one; or name --adapters or --model")
    return Target(champion.folder, None, params)


def merged(meant: Target) -> Target:
    """With `--merge_lora true`, put the adapter into its base beside the checkpoint, and mean that folder."""
    if not (meant.params.run.merge_lora and meant.adapter):
        return meant
    adapter = meant.adapter.resolve()
    folder = adapter.with_name(f"{adapter.name}-merged")
    if is_complete(folder):
        print(f"merged before: {folder}")
    else:
        merge(meant.model, adapter, folder, meant.params)
    return Target(folder, None, meant.params)


def merge(base: Path, adapter: Path, folder: Path, params: Params) -> None:
    """Merge `adapter` into `base` as the stage does, proved on the run's rows or, where they are gone, on a chat."""
    from components import export, models
    from tasks.stages.merge import merge_into

    tokens = adapter.parent / "data/tokens/train.arrow"
    chat = [{"role": "user", "content": "Who are you?"}]
    if tokens.is_file():
        rows = export.token_rows(tokens)
    else:
        ids: Any = models.load_tokenizer(base).apply_chat_template(chat, return_dict=False)
        rows = [ids]
    with replacing_folder(folder) as written:
        proof = merge_into(written, base, adapter, rows, params.merge)
        write_json(written / "merge.json", proof)
        shutil.copy2(adapter / "args.json", written)
    print(f"merged into {folder}: logits differ by at most {proof['merged']['max_abs_difference']:.1e}")


def generation(params: Params) -> Any:
    """The generation settings among the parameters."""
    from components.inference import GenerationConfig

    settings = params.generation.model_dump(exclude={"infer_backend", "max_batch_size", "max_model_len"})
    return GenerationConfig(**settings)
