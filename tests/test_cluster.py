"""Several machines: a remote of DVC on S3, and the templates for Kubernetes."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from components.training.world import NAMES
from tests.flows import toy

CLUSTER = Path(__file__).parents[1] / "examples/cluster"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "a-secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 server with the bucket `team`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr and any("Running on" in line for line in server.stderr)
        address = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{address}/team", method="PUT")).close()
        yield address
    finally:
        server.terminate()
        server.wait()


def dvc(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    ended = subprocess.run(command, cwd=folder, env=os.environ | KEYS, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_another_machine_pulls_what_one_has_made_and_has_nothing_to_do(s3: str, tmp_path: Path) -> None:
    first, second = toy.make(tmp_path / "first"), tmp_path / "second"
    dvc(first, "remote", "add", "--default", "team", "s3://team/workspace")
    dvc(first, "remote", "modify", "team", "endpointurl", s3)
    dvc(first, "repro")
    toy.git(first, "add", "-A")
    toy.git(first, "commit", "-qm", "made")
    dvc(first, "push")
    toy.git(first, "clone", "-q", str(first), str(second))
    dvc(second, "pull")
    assert "Running" not in dvc(second, "repro")
    assert (second / "models/adapter").read_bytes() == (first / "models/adapter").read_bytes()
    assert toy.tries(second) == {}
    assert "a-secret" not in "".join(file.read_text() for file in (first / ".dvc").glob("config*"))


def pool() -> dict[str, Any]:
    return json.loads((CLUSTER / "kubernetes-pool.json").read_text())


def job(**values: Any) -> dict[str, Any]:
    """The Kubernetes job of a flow run, as a Prefect worker fills the template in."""
    from prefect.utilities.templating import apply_values  # not before the tests of flows have set Prefect up

    properties = pool()["variables"]["properties"]
    jsonschema.validate(values, pool()["variables"])
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    return apply_values(pool()["job_configuration"], defaults | values, remove_notset=True)


def test_the_pool_has_a_value_for_every_place_of_its_template_and_a_place_for_every_value() -> None:
    jsonschema.Draft202012Validator.check_schema(pool()["variables"])
    text = json.dumps(pool()["job_configuration"])
    for name in pool()["variables"]["properties"]:
        assert f"{{{{ {name} }}}}" in text
        text = text.replace(f"{{{{ {name} }}}}", "")
    assert "{{" not in text


def test_a_flow_run_gets_its_accelerators_its_workspace_and_its_shared_memory() -> None:
    pod = job(gpus=4, shm_size="32Gi", workspace_claim="ours")["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert volumes["workspace"]["persistentVolumeClaim"]["claimName"] == "ours"
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "32Gi"}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()


def test_the_job_of_several_machines_says_who_is_who() -> None:
    service, training = YAML(typ="safe").load_all((CLUSTER / "kubernetes-job.yaml").read_text())
    spec, pod = training["spec"], training["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert values.keys() <= {name.upper() for name in NAMES}
    assert spec["parallelism"] == spec["completions"] == int(values["NNODES"])
    name = training["metadata"]["name"]
    assert values["MASTER_ADDR"] == f"{name}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert container["command"] == ["martlet", "sft"]
