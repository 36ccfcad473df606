"""Parameters of the server. Read by `deploy`."""

from components.config.fields import Group, field


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
    served_model_name: str | None = field(None, "name of the model for clients; by default the registered name")
