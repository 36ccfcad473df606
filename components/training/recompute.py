"""Which parts of a model keep their activations, and which recompute them for the backward pass (gradient
checkpointing)."""

from components.towers import Parts
from components.training.job import Job, transformers_model


def recomputes(job: Job) -> tuple[bool, bool]:
    """Return whether the language model recomputes activations, and whether the towers do: by default both, on an
    accelerator."""
    import torch

    asked, of_towers = job.train.gradient_checkpointing, job.params.towers.vit_gradient_checkpointing
    is_default = torch.accelerator.is_available() and job.model.supports_gradient_checkpointing
    text = is_default if asked is None else asked
    return text, text if of_towers is None else of_towers


def settle_parts(job: Job) -> None:
    """Let each part of a model whose activations are recomputed do as `recomputes` says."""
    text, towers = recomputes(job)
    if text == towers:
        return
    model = transformers_model(job.model)
    parts = Parts(model)
    for name, module in model.named_modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = text if parts.of(name) == "llm" else towers
