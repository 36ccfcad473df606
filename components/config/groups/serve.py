"""Parameters of the server. Read by `deploy`."""

from components.config.fields import Group, Mapping, Names, field


class Serve(Group):
    """The OpenAI-compatible server. Its API key is the environment variable MARTLET_API_KEY."""

    host: str = field("127.0.0.1", "address to listen on; any other than loopback needs MARTLET_API_KEY")
    port: int = field(8000, "port to listen on", ge=0, le=65535)
    max_waiting_requests: int = field(256, "requests that may wait for a place; one more is answered 429", ge=1)
    request_timeout: float | None = field(None, "seconds after which an answer is given up; none by default", gt=0)
    drain_timeout: float = field(30.0, "seconds that open answers are waited for when the server is terminated", ge=0)
    verbose: bool = field(True, "write a line for each request to standard error, without its text")
    allow_runtime_lora_updating: bool = field(
        False, "let clients load and unload adapters, by vLLM's /v1/load_lora_adapter and /v1/unload_lora_adapter"
    )
    probe_questions: int = field(
        8,
        "questions that a server asks a new champion, of those that it answered well when evaluated",
        ge=0,
    )
    probe_max_lost: float = field(
        0.25, "share of these questions that the new champion may answer otherwise, and wrongly", ge=0, le=1
    )
    probe_timeout: float = field(60.0, "seconds for an answer to such a question", gt=0)
    served_model_name: str | None = field(None, "name of the model for clients; by default the registered name")
    limit_mm_per_prompt: Mapping = field(
        {}, 'most media of a request, by kind: {"image": 4}; else 16 images, 4 videos, 4 audios'
    )
    allowed_media_domains: Names = field([], "hosts from which media of requests are fetched; by default none")
    allowed_local_media_path: str | None = field(
        None, "folder of this machine whose media requests may name; by default none"
    )
    max_request_mb: int | None = field(
        None, "MiB of the largest request; by default 64 for a model that takes media", ge=1, le=1024
    )
    max_media_pixels: int = field(100_000_000, "pixels of all pictures and video frames of a request together", gt=0)
    max_media_seconds: float = field(600.0, "seconds of all videos and sounds of a request together", gt=0)
