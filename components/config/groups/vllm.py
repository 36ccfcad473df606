"""Parameters of the engine vLLM: of `--infer_backend vllm`, in `deploy` and in the stage `evaluate`."""

from components.config.fields import Group, Mapping, field


class Vllm(Group):
    """How vLLM divides a model and uses memory; the names are ms-swift's."""

    vllm_gpu_memory_utilization: float = field(0.9, "share of a GPU's memory that vLLM takes", gt=0, le=1)
    vllm_tensor_parallel_size: int = field(1, "GPUs that each layer is divided among", gt=0)
    vllm_pipeline_parallel_size: int = field(1, "GPUs, or groups of them, that the layers are dealt out to", gt=0)
    vllm_data_parallel_size: int = field(1, "copies of the model that share the requests", gt=0)
    vllm_enable_expert_parallel: bool = field(False, "deal the experts out to the GPUs, instead of dividing each")
    vllm_max_num_seqs: int = field(256, "most requests generated together", gt=0)
    vllm_max_model_len: int | None = field(
        None, "longest prompt and answer in tokens; by default --max_model_len, else the model's own", gt=0
    )
    vllm_enforce_eager: bool = field(False, "start sooner and answer slower: nothing is compiled; always so on a CPU")
    vllm_disable_custom_all_reduce: bool = field(True, "let NCCL sum between GPUs; false for vLLM's own way")
    vllm_max_lora_rank: int | None = field(None, "highest rank of adapters; by default that of --adapters", gt=0)
    vllm_enable_prefix_caching: bool | None = field(None, "keep common beginnings of prompts; by default vLLM decides")
    vllm_quantization: str | None = field(None, "vLLM's name of the weights' format, by default config.json's")
    vllm_reasoning_parser: str | None = field(
        None, "vLLM's parser that moves the reasoning into a field of its own: qwen3, deepseek_r1, …"
    )
    vllm_limit_mm_per_prompt: Mapping | None = field(None, 'most images and videos of a prompt: {"image": 5}')
    vllm_mm_processor_cache_gb: float | None = field(None, "GiB of memory that keep prepared images", ge=0)
    vllm_speculative_config: Mapping | None = field(None, "speculative decoding, as JSON for vLLM")
    vllm_engine_kwargs: Mapping | None = field(None, 'further arguments of vLLM: {"block_size": 32}')
