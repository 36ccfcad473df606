"""Parameters of the server. Read by `deploy`."""

from components.config.fields import Group, field


class Serve(Group):
    """The OpenAI-compatible server. Its API key is the environment variable MARTLET_API_KEY."""

    host: str = field("127.0.0.1", "address to listen on; any other than loopback needs MARTLET_API_KEY")
    port: int = field(8000, "port to listen on", ge=0, le=65535)
    served_model_name: str | None = field(None, "name of the model for clients; by default the registered name")
