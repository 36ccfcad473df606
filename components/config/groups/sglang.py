"""Parameters of the engine SGLang: of `--infer_backend sglang`, in `deploy` and in the stage `evaluate`."""

from components.config.fields import Group, field


class Sglang(Group):
    """How SGLang divides a model and uses memory; the names are ms-swift's."""

    sglang_tp_size: int = field(1, "GPUs that each layer is divided among", gt=0)
    sglang_pp_size: int = field(1, "GPUs, or groups of them, that the layers are dealt out to", gt=0)
    sglang_dp_size: int = field(1, "copies of the model that share the requests", gt=0)
    sglang_ep_size: int = field(1, "GPUs that the experts are dealt out to", gt=0)
    sglang_mem_fraction_static: float | None = field(
        None, "share of a GPU's memory for weights, keys and values; by default SGLang decides", gt=0, le=1
    )
    sglang_context_length: int | None = field(
        None, "longest prompt and answer in tokens; by default --max_model_len, else the model's own", gt=0
    )
    sglang_disable_cuda_graph: bool = field(False, "start sooner and answer slower: no CUDA graphs")
    sglang_quantization: str | None = field(None, "SGLang's name of the weights' format, by default config.json's")
    sglang_kv_cache_dtype: str = field("auto", "type of the kept keys and values: auto, fp8_e5m2, fp8_e4m3")
    sglang_enable_dp_attention: bool = field(False, "copies keep their own keys and values, and share the experts")
    sglang_disable_custom_all_reduce: bool = field(True, "let NCCL sum between GPUs; false for SGLang's own way")
