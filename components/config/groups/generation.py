"""How text is generated. Read by `infer` and by the server."""

from components.config.fields import Group, Names, field


class Generation(Group):
    """Sampling; the names are ms-swift's."""

    max_new_tokens: int = field(512, "longest answer in tokens", gt=0)
    temperature: float | None = field(None, "0 is greedy; by default as the model's generation_config.json says", ge=0)
    top_k: int | None = field(None, "sample among the k likeliest tokens", ge=0)
    top_p: float | None = field(None, "sample among the likeliest tokens that hold this probability", gt=0, le=1)
    repetition_penalty: float | None = field(None, "above 1 discourages repeating", gt=0)
    stop_words: Names = field([], "strings that end an answer")
    stream: bool = field(True, "show the answer while it is generated")
    infer_backend: str = field("transformers", "the engine that serves: transformers, or a plugin's name")
    max_batch_size: int = field(16, "requests generated together", gt=0)
    max_model_len: int | None = field(None, "longest prompt and answer in tokens; by default the model's own", gt=0)
