"""Under which name models are registered. Read by the stage `register` and by promote and rollback."""

from components.config.fields import Group, field


class Registry(Group):
    """The MLflow model registry."""

    registered_model_name: str = field(
        "martlet", "name of the model in the MLflow registry", pattern=r"^[\w.\-]+( [\w.\-]+)*$", max_length=200
    )
