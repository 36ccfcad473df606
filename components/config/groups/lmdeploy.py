"""Parameters of the engine LMDeploy: of `--infer_backend lmdeploy`, in `deploy` and in the stage `evaluate`."""

from components.config.fields import Group, field


class Lmdeploy(Group):
    """How LMDeploy divides a model and uses memory; the names are ms-swift's."""

    lmdeploy_tp: int = field(1, "GPUs that each layer is divided among", gt=0)
    lmdeploy_session_len: int | None = field(
        None, "longest prompt and answer in tokens; by default --max_model_len, else the model's own", gt=0
    )
    lmdeploy_cache_max_entry_count: float = field(
        0.8, "share of the GPU memory beside the weights that keeps keys and values", gt=0, le=1
    )
    lmdeploy_quant_policy: int = field(0, "bits of the kept keys and values: 4, 8, or 0 for as they are", ge=0)
    lmdeploy_vision_batch_size: int = field(1, "images that are prepared together", gt=0)
