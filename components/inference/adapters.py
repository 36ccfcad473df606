"""Loading an adapter so that it applies, or fails: never the base model answering in its name."""

from pathlib import Path
from typing import Any

from components.errors import MartletError

WEIGHTS = "adapter_model.safetensors"


def apply_adapter(model: Any, adapter: Path) -> Any:
    """Put the peft adapter folder `adapter` on `model` (not merged) and return the peft model.

    Raises MartletError when the folder is incomplete, or when a tensor of the file has no place of its name and shape
    in the model, or a place of the model has no tensor. peft itself passes over both in silence.
    """
    for name in ("adapter_config.json", WEIGHTS):
        if not (adapter / name).is_file():
            raise MartletError(
                f"{adapter} is not an adapter folder: {name} is missing. Give a checkpoint or adapter folder"
            )

    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / WEIGHTS, "pt") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        peft_model = PeftModel.from_pretrained(model, str(adapter), use_safetensors=True)
    except SafetensorError as error:
        raise MartletError(
            f"{adapter / WEIGHTS} cannot be read: {error}. Was it copied whole? Take another checkpoint"
        ) from error
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise MartletError(f"the adapter {adapter} does not fit this model: {error}") from error
    has_embedding = any("embed_tokens.weight" in name or "lm_head.weight" in name for name in stored)
    state = get_peft_model_state_dict(peft_model, save_embedding_layers=has_embedding)
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    problems = [
        *(f"{name} {shape} has no place in the model" for name, shape in stored.items() if name not in wanted),
        *(f"{name} {shape} is not in the file" for name, shape in wanted.items() if name not in stored),
        *(
            f"{name} is {stored[name]} in the file and {shape} in the model"
            for name, shape in wanted.items()
            if stored.get(name, shape) != shape
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise MartletError(
            f"the adapter {adapter} does not apply to this model: {'; '.join(problems[:3])}{more}."
            " Load it on the base model that its adapter_config.json names"
        )
    return peft_model
