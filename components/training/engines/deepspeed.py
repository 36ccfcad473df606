"""DeepSpeed's ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054), through accelerate.

The processes divide the optimizer's state (stage 1), the gradients (2) and the weights (3). Optimizer and weights may
lie in the machine's memory or on its disk.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.config import Params
from components.sharded import block_sizes, numel
from components.training.job import Job
from components.training.sharding import plan_of
from components.training.world import data_parallel_size

OF_PARAMETERS = {"train_batch_size", "optimizer", "scheduler"}
"""Settings of a user's file that parameters decide; what contradicts them is refused before."""


@contextmanager
def loading(params: Params) -> Generator[dict[str, Any]]:
    """Divide the weights while they are loaded, in stage 3."""
    _prepare()
    plan = plan_of(params.distributed)
    if not plan.divides_weights:
        yield {}
        return
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    config = HfDeepSpeedConfig(config_of(params, None))  # transformers looks for this object while it loads
    yield {"device_map": None}
    del config


def _prepare() -> None:
    """Let accelerate 1.15 and transformers 5.23 run DeepSpeed on a CPU, where both take it for plain DDP: `use_cpu` and
    ACCELERATE_USE_CPU turn DeepSpeed off, and without these the number of processes is not known."""
    import torch

    if torch.accelerator.is_available():
        return
    os.environ.update(DS_ACCELERATOR="cpu", ACCELERATE_USE_DEEPSPEED="true")
    import deepspeed.ops
    from accelerate import PartialState

    # Kernels that DeepSpeed 0.19 compiles for a minute when it begins on a CPU; gloo does without.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

    PartialState(backend="gloo")


def arguments(job: Job) -> dict[str, Any]:
    """Return DeepSpeed's configuration for transformers."""
    import torch

    own = {} if torch.accelerator.is_available() else {"accelerator_config": {"use_configured_state": True}}
    config, plan = config_of(job.params, job.model.dtype), plan_of(job.params.distributed)
    if plan.stage == 3 and not plan.settings:
        config["zero_optimization"] |= _two_blocks(job.model)
    return {"deepspeed": config, **own}


def _two_blocks(model: Any) -> dict[str, Any]:
    """Return settings with which two blocks of layers are whole at a time, one of them on its way; by default DeepSpeed
    keeps 1e9 weights whole, which for many a model is all."""
    block = max(block_sizes(model), default=sum(map(numel, model.parameters())))
    return {
        "stage3_max_live_parameters": 2 * block,
        "stage3_max_reuse_distance": 2 * block,
        "stage3_prefetch_bucket_size": block,
        "stage3_param_persistence_threshold": "auto",
        "reduce_bucket_size": block,
    }


def config_of(params: Params, dtype: Any) -> dict[str, Any]:
    """Return DeepSpeed's configuration: that of the user's file with what the parameters decide, or our own."""
    import torch

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
    plan, train = plan_of(params.distributed), params.train
    zero: dict[str, Any] = {"stage": plan.stage}
    if plan.offload_optimizer:
        zero["offload_optimizer"] = {"device": plan.offload_optimizer, "pin_memory": True}
    if plan.offload_weights:
        zero["offload_param"] = {"device": plan.offload_weights, "pin_memory": True}
    passes = (train.gradient_accumulation_steps or 1) // data_parallel_size(params)
    decided = {
        "train_micro_batch_size_per_gpu": train.per_device_train_batch_size,
        "gradient_accumulation_steps": passes,
        "gradient_clipping": train.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        **{name: {**plan.settings.get(name, {}), "enabled": dtype == of} for name, of in dtypes.items()},
    }
    settings = {name: value for name, value in plan.settings.items() if name not in OF_PARAMETERS}
    return {"zero_optimization": zero, **settings, **decided}


def is_running(trainer: Any) -> bool:
    """Return whether accelerate trains with DeepSpeed in the stage of the parameters."""
    from accelerate.utils import DistributedType

    if trainer.accelerator.distributed_type != DistributedType.DEEPSPEED:
        return False
    return trainer.model_wrapped.zero_optimization_stage() == plan_of(trainer.job.params.distributed).stage


def save_optimizer(trainer: Any, folder: Path) -> bool:  # noqa: ARG001
    """Leave DeepSpeed's files to transformers."""
    return False


def load_optimizer(trainer: Any, folder: Path) -> bool:  # noqa: ARG001
    """Leave DeepSpeed's files to transformers."""
    return False


def end(trainer: Any) -> None:
    """Take DeepSpeed's hooks off the model, and let transformers load the next one whole."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    trainer.model_wrapped.destroy()
    unset_hf_deepspeed_config()
