"""Parameters of generation: of `infer` and `sample`, and in `deploy` of requests that name none."""

from components.config.fields import Group, Names, field


class Generation(Group):
    """Sampling; the names are ms-swift's."""

    max_new_tokens: int | None = field(
        None,
        "longest answer in tokens; by default 512 in infer and sample, and the rest of the context in deploy",
        gt=0,
    )
    temperature: float | None = field(
        None,
        "sampling temperature, 0 for greedy decoding; by default as in the model's generation_config.json, in sample 1",
        ge=0,
    )
    top_k: int | None = field(None, "sample among the k most likely tokens", ge=0)
    top_p: float | None = field(None, "sample among the most likely tokens with this total probability", gt=0, le=1)
    repetition_penalty: float | None = field(None, "penalty on tokens that were used before; 1 for none", gt=0)
    stop_words: Names = field([], "strings that end an answer")
    stream: bool = field(True, "print the answer during the generation")
    infer_backend: str = field(
        "transformers",
        "inference engine: transformers; in deploy and evaluate, also the name of a plugin",
        "sampler_engine",
    )
    max_batch_size: int | None = field(None, "requests generated together; by default 64 on a CPU, 128 on a GPU", gt=0)
    max_model_len: int | None = field(None, "longest prompt and answer in tokens; by default the model's own", gt=0)
