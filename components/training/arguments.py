"""transformers' TrainingArguments of a job, which TRL's configurations extend."""

from typing import Any

from components.errors import ConfigError
from components.training.engines import engine_of
from components.training.job import Job
from components.training.recompute import recomputes
from components.training.trackers import callbacks_of

PASSED = (
    "num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "learning_rate",
    "lr_scheduler_kwargs", "weight_decay", "max_grad_norm", "neftune_noise_alpha", "eval_steps", "eval_delay",
    "save_strategy", "save_steps", "dataloader_num_workers", "seed",
)  # fmt: skip
"""Parameters that go to transformers as they are."""


def training_arguments(job: Job) -> dict[str, Any]:
    """Return the keyword arguments of `TrainingArguments`, or of a configuration of TRL's.

    Raises:
        ConfigError: activations are to be recomputed, and the model cannot.
    """
    import torch

    train, model = job.train, job.model
    if train.gradient_checkpointing and not getattr(model, "supports_gradient_checkpointing", True):
        raise ConfigError(
            f"gradient_checkpointing: models of the type {model.config.model_type} cannot recompute activations; leave "
            "it out, and take a smaller batch if memory is short"
        )
    accelerated = torch.accelerator.is_available()
    warmup, schedule = train.warmup_steps or train.warmup_ratio, train.lr_scheduler_type
    return {
        **{name: getattr(train, name) for name in PASSED},
        "output_dir": str(job.checkpoints),
        "max_steps": train.max_steps or -1,
        "gradient_accumulation_steps": job.accumulation,
        "lr_scheduler_type": "constant_with_warmup" if schedule == "constant" and warmup else schedule,
        "warmup_steps": warmup,
        "bf16": model.dtype == torch.bfloat16,
        "fp16": model.dtype == torch.float16,
        "activation_checkpointing": any(recomputes(job)),
        "use_liger_kernel": train.use_liger_kernel,
        "torch_compile": train.torch_compile,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": train.eval_strategy if job.val_rows is not None else "no",
        "eval_on_start": train.eval_on_start and job.val_rows is not None and job.start is None,
        "dataloader_pin_memory": accelerated,
        "ddp_backend": job.params.distributed.ddp_backend,
        "ddp_timeout": job.params.distributed.ddp_timeout,
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "include_num_input_tokens_seen": "non_padding",
        "report_to": callbacks_of(job.params),
        "run_name": job.checkpoints.name,
        "disable_tqdm": True,
        **engine_of(job.params).arguments(job),
    }
