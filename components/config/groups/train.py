"""Parameters of the training. Read by the stage `train`; names and defaults are ms-swift's and Hugging Face's."""

from typing import Any, Literal

from pydantic import ValidationInfo, field_validator

from components.config.fields import Group, Mapping, Methods, field
from components.config.schedules import Schedule, kwargs_problem


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
    optimizer: str = field(
        "adamw",
        "optimizer: adamw, adamw_8bit, adafactor, lion, muon, sgd, loraplus, galore, or a plugin's name",
        "optim",
    )
    callbacks: Methods = field([], "callbacks between steps: lisa, or names of plugins")
    learning_rate: float | None = field(None, "peak learning rate; by default the tuner's, 1e-4 for lora", gt=0)
    lr_scheduler_type: Schedule = field("cosine", "schedule of the learning rate, as in transformers")
    lr_scheduler_kwargs: Mapping = field(
        {}, "parameters of the schedule, as JSON: '{\"min_lr_rate\": 0.1}'", validate_default=True
    )
    warmup_ratio: float = field(0.0, "share of all steps in which the learning rate rises", ge=0.0, lt=1.0)
    warmup_steps: int = field(0, "steps in which the learning rate rises; overrides the ratio when positive", ge=0)
    weight_decay: float = field(0.1, "decoupled weight decay", ge=0.0)
    adam_beta1: float = field(0.9, "AdamW's first decay rate", ge=0.0, lt=1.0)
    adam_beta2: float = field(0.95, "AdamW's second decay rate", ge=0.0, lt=1.0)
    adam_epsilon: float = field(1e-8, "AdamW's epsilon", gt=0)
    max_grad_norm: float = field(1.0, "gradients are clipped to this norm", ge=0.0)
    loss_type: Methods = field(
        [],
        "loss: cross_entropy or dft (dynamic fine-tuning); of embeddings infonce, cosine_similarity, contrastive or "
        "online_contrastive; of dpo one or several of docs/alignment.md; or a plugin's name",
    )
    label_smoothing_factor: float = field(
        0.0, "share of each target that is spread over the whole vocabulary", ge=0.0, lt=1.0
    )
    neftune_noise_alpha: float | None = field(
        None, "NEFTune: size of the noise on the embeddings in training, 5 to 15 in its paper", gt=0
    )
    gradient_checkpointing: bool | None = field(None, "recompute activations to save memory; by default on a GPU only")
    use_liger_kernel: bool = field(
        False, "Liger's fused kernels, which need an NVIDIA GPU and the package liger-kernel"
    )
    torch_compile: bool = field(False, "compile the model with torch.compile; batches are then padded")
    logging_steps: int = field(5, "steps between two lines of progress", gt=0)
    eval_strategy: Literal["steps", "epoch", "no"] = field(
        "steps", "when validation rows are evaluated: every eval_steps, after each epoch, or never"
    )
    eval_steps: int | None = field(None, "steps between two evaluations; by default as --save_steps", gt=0)
    eval_delay: float = field(0.0, "steps (epochs with eval_strategy epoch) before the first evaluation", ge=0)
    eval_on_start: bool = field(False, "evaluate before the first step too")
    predict_with_generate: bool = field(False, "answer the prompts of the validation rows in every evaluation")
    eval_metric: Methods = field(
        ["nlg"], "what is counted of these answers: nlg (ROUGE, BLEU), acc (equal to the row's), or plugins' names"
    )
    save_strategy: Literal["steps", "epoch", "no"] = field(
        "steps", "when checkpoints are written: every save_steps, after each epoch, or only at the end"
    )
    save_steps: int = field(500, "steps between two checkpoints", gt=0)
    save_total_limit: int | None = field(
        None, "checkpoints to keep, by default all; the newest and the best always stay", gt=0
    )
    metric_for_best_model: str = field("eval_loss", "the figure of evaluations that makes a checkpoint the best")
    greater_is_better: bool | None = field(
        None, "whether a greater figure is the better one; by default unless it is a loss"
    )
    load_best_model_at_end: bool = field(False, "end with the weights of the best checkpoint, not of the last")
    early_stop_interval: int | None = field(
        None, "end the training after so many evaluations in a row without a better figure", gt=0
    )
    dataloader_num_workers: int = field(0, "processes that prepare batches", ge=0)
    seed: int = field(42, "seed for initialisation, dropout and the order of rows")

    @field_validator("lr_scheduler_kwargs")
    @classmethod
    def _refuse_kwargs_of_another_schedule(cls, kwargs: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if problem := kwargs_problem(info.data.get("lr_scheduler_type", ""), kwargs):
            raise ValueError(problem)
        return kwargs

    @field_validator("metric_for_best_model")
    @classmethod
    def _in_full(cls, name: str) -> str:
        return name if name.startswith("eval_") else f"eval_{name}"
