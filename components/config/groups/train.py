"""Parameters of the training. Read by the stage `train`; names and defaults are ms-swift's and Hugging Face's."""

from typing import Literal

from components.config.fields import Group, Names, field


class Train(Group):
    """Optimisation, batches, schedules, checkpoints."""

    torch_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        None,
        "precision of the base weights; by default, in training, bfloat16 on a GPU that has it, else float16, and "
        "float32 on a CPU; elsewhere as stored",
    )
    attn_impl: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = field(
        None, "attention implementation; by default transformers chooses", "attn_implementation"
    )
    num_train_epochs: float = field(3.0, "passes over the training data", gt=0)
    max_steps: int = field(-1, "optimizer steps of the run; overrides the epochs when positive", ge=-1)
    per_device_train_batch_size: int = field(1, "rows (or packs) per device in one forward pass", gt=0)
    per_device_eval_batch_size: int = field(1, "rows per device in one forward pass of an evaluation", gt=0)
    gradient_accumulation_steps: int | None = field(
        None, "forward passes of all processes per optimizer step; by default enough for 16 rows (or packs)", gt=0
    )
    packing: bool = field(False, "join rows into packs of packing_length tokens; no row attends to another")
    packing_length: int | None = field(None, "tokens in a pack; by default as --max_length", gt=0)
    packing_strategy: Literal["binpack", "sequential"] = field(
        "binpack", "how packs are filled: best-fit decreasing (binpack), or in the order of the rows (sequential)"
    )
    padding_free: bool | None = field(
        None, "join the rows of a batch instead of padding them; by default where no row then attends to another"
    )
    group_by_length: bool = field(False, "make batches of rows of similar length")
    optimizer: str = field("adamw", "optimizer: adamw, loraplus, galore, or a plugin's name")
    callbacks: Names = field([], "callbacks between steps: lisa, or names of plugins")
    learning_rate: float | None = field(None, "peak learning rate; by default the tuner's, 1e-4 for lora", gt=0)
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup", "polynomial"] = field(
        "cosine", "schedule of the learning rate"
    )
    warmup_ratio: float = field(0.0, "share of all steps in which the learning rate rises", ge=0.0, lt=1.0)
    warmup_steps: int = field(0, "steps in which the learning rate rises; overrides the ratio when positive", ge=0)
    weight_decay: float = field(0.1, "decoupled weight decay", ge=0.0)
    adam_beta1: float = field(0.9, "AdamW's first decay rate", ge=0.0, lt=1.0)
    adam_beta2: float = field(0.95, "AdamW's second decay rate", ge=0.0, lt=1.0)
    adam_epsilon: float = field(1e-8, "AdamW's epsilon", gt=0)
    max_grad_norm: float = field(1.0, "gradients are clipped to this norm", ge=0.0)
    gradient_checkpointing: bool | None = field(None, "recompute activations to save memory; by default on a GPU only")
    use_liger_kernel: bool = field(
        False, "Liger's fused kernels, which need an NVIDIA GPU and the package liger-kernel"
    )
    logging_steps: int = field(5, "steps between two lines of progress", gt=0)
    eval_steps: int | None = field(None, "steps between two evaluations; by default as --save_steps", gt=0)
    save_steps: int = field(500, "steps between two checkpoints", gt=0)
    save_total_limit: int | None = field(
        None, "checkpoints to keep, by default all; the newest and the best always stay", gt=0
    )
    dataloader_num_workers: int = field(0, "processes that prepare batches", ge=0)
    seed: int = field(42, "seed for initialisation, dropout and the order of rows")
