"""The name of the registered model. Read by the stage `register`, by `promote` and by `rollback`."""

from components.config.fields import Group, field


class Registry(Group):
    """The MLflow model registry."""

    registered_model_name: str = field(
        "martlet", "name of the model in the MLflow registry", pattern=r"^[\w.\-]+( [\w.\-]+)*$", max_length=200
    )
