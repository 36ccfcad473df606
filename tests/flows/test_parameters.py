"""The typed parameters of deployments, without a server."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from components.config import GROUPS, LEAVES
from tests.flows.conftest import Server


@pytest.fixture
def schema(server: Server) -> dict[str, Any]:
    from flows.finetune import finetune

    return finetune.parameters.model_dump()


def test_every_parameter_of_the_pipeline_has_its_type_and_help(schema: dict[str, Any]) -> None:
    groups = {name: group["properties"] for name, group in schema["definitions"].items() if name in GROUPS}
    assert {"lora", "train", "data", "gate"} <= groups.keys() and not {"serve", "sample"} & groups.keys()
    for group, properties in groups.items():
        assert list(properties) == [leaf.name for leaf in LEAVES.values() if leaf.group == group]
        for name, leaf in properties.items():
            assert leaf["description"].startswith(str(LEAVES[name].info.description))
            assert leaf.keys() & {"type", "anyOf", "enum", "items", "$ref"}, name
    assert groups["gate"]["margin"] == {
        "description": "accuracy that a candidate may lose on any question set [0.05]",
        "exclusiveMinimum": 0, "exclusiveMaximum": 1, "title": "Margin", "type": "number",
    }  # fmt: skip
    assert groups["gate"]["min_accuracy"]["type"] == "number"  # None is what is left empty


def test_nothing_is_required_and_nothing_is_filled_in(schema: dict[str, Any]) -> None:
    assert schema["required"] == []
    assert schema["properties"]["params"]["default"] == {}
    for name, group in schema["definitions"].items():
        if name in GROUPS:
            assert not group.get("required")
            assert not any("default" in leaf for leaf in group["properties"].values())


def test_the_parameters_of_a_form_are_those_of_params_yaml(server: Server) -> None:
    from flows.parameters import Overrides

    values = {"lora": {"lora_rank": 16}, "data": {"dataset": ["a.jsonl"]}}
    assert TypeAdapter(Overrides).validate_python(values) == values
