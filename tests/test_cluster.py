"""Several machines: a remote of DVC on S3, the templates for Kubernetes and Docker, the services of compose.yaml."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import jsonschema
import pytest
from ruamel.yaml import YAML

from apps.cli.parser import parser_of
from components.config import parse
from components.training.world import NAMES
from flows.server import answers
from tests.flows import toy

CLUSTER = Path(__file__).parents[1] / "examples/cluster"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "a-secret", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 server with the bucket `team`."""
    port = free_port()
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


POOLS = {"kubernetes": "kubernetes-pool.json", "docker": "docker-pool.json"}


def pool(kind: str = "kubernetes") -> dict[str, Any]:
    return json.loads((CLUSTER / POOLS[kind]).read_text())


def job(kind: str = "kubernetes", **values: Any) -> dict[str, Any]:
    """The job of a flow run, as a Prefect worker fills the template in."""
    from prefect.utilities.templating import apply_values  # not before the tests of flows have set Prefect up

    properties = pool(kind)["variables"]["properties"]
    jsonschema.validate(values, pool(kind)["variables"])
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    return apply_values(pool(kind)["job_configuration"], defaults | values, remove_notset=True)


@pytest.mark.parametrize("kind", POOLS)
def test_the_pool_has_a_value_for_every_place_of_its_template_and_a_place_for_every_value(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(pool(kind)["variables"])
    text = json.dumps(pool(kind)["job_configuration"])
    for name in pool(kind)["variables"]["properties"]:
        assert f"{{{{ {name} }}}}" in text
        text = text.replace(f"{{{{ {name} }}}}", "")
    assert "{{" not in text


@pytest.mark.parametrize("kind", POOLS)
def test_a_pool_sets_what_prefects_worker_knows(kind: str) -> None:
    """Against the template that Prefect itself publishes for this kind of worker."""
    import prefect.server.api.collections_data as collections

    published = json.loads((Path(collections.__path__[0]) / "views/aggregate-worker-metadata.json").read_text())
    template = published[f"prefect-{kind}"][kind]["default_base_job_configuration"]
    assert pool(kind)["job_configuration"].keys() <= template["job_configuration"].keys()
    places = {name for name, value in template["job_configuration"].items() if value == f"{{{{ {name} }}}}"}
    known = {"properties": {name: template["variables"]["properties"][name] for name in places}}
    filled = {name: value for name, value in job(kind).items() if name in places}
    jsonschema.validate(filled, known | {"definitions": template["variables"].get("definitions", {})})


def test_a_flow_run_in_a_container_sees_the_workspace_and_the_servers_of_compose() -> None:
    container, services = job("docker", memory="64g"), compose()
    assert container["volumes"] == [f"{services['name']}_workspace:/workspace"]
    assert container["networks"] == [f"{services['name']}_default"]
    assert container["mem_limit"] == "64g" and container["privileged"] is False


def compose() -> dict[str, Any]:
    return YAML(typ="safe").load((CLUSTER / "compose.yaml").read_text())


def test_the_services_of_compose_are_whole() -> None:
    document = compose()
    services, volumes = document["services"], document["volumes"]
    for name, service in services.items():
        assert service.keys() <= {
            "image", "restart", "command", "entrypoint", "environment", "volumes", "ports", "depends_on", "healthcheck",
            "configs",
        }, name  # fmt: skip
        assert ":" in service["image"]
        assert all(volume.partition(":")[0] in volumes for volume in service.get("volumes", [])), name
        assert all(other in services for other in service.get("depends_on", {})), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        waits = [other for other, how in service.get("depends_on", {}).items() if how["condition"] == "service_healthy"]
        assert all("healthcheck" in services[other] for other in waits), name
        secrets = [
            value for key, value in service.get("environment", {}).items() if re.search("PASS|SECRET|KEY$|AUTH", key)
        ]
        assert all(re.fullmatch(r"\$\{\w+:\?\}", value) for value in secrets), name


def test_the_commands_of_compose_are_those_of_the_programs() -> None:
    import click

    services = compose()["services"]
    for name in ("worker", "endpoint"):
        program, command, *words = services[name]["command"]
        assert program == "martlet"
        parse(parser_of(command, import_module(f"apps.cli.{command.replace('-', '_')}")), words)
    from mlflow.cli import cli as mlflow

    _, command, *words = services["mlflow"]["command"]
    assert isinstance(server := mlflow.commands[command], click.Command)
    assert server.make_context("server", [word.replace("${POSTGRES_PASSWORD:?}", "secret") for word in words]).params
    ended = subprocess.run(
        [sys.executable, "-m", "prefect", "server", "start", "--help"], capture_output=True, text=True
    )
    assert all(flag in ended.stdout for flag in services["prefect"]["command"] if flag.startswith("--"))


@pytest.fixture
def postgres() -> Iterator[int]:
    """The port of a Postgres server with the user `martlet` and the database `prefect`."""
    with TemporaryDirectory(prefix="postgres-") as folder:
        yield from _postgres(Path(folder))


def _postgres(folder: Path) -> Iterator[int]:
    words = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.getuid() == 0 else []  # Postgres refuses root
    if words:
        shutil.chown(folder, "nobody")
    port = free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    data = ["-D", str(folder / "data")]
    subprocess.run([*words, "initdb", *data, "-U", "martlet", "--auth=trust"], cwd=folder, check=True)
    subprocess.run(
        [*words, "pg_ctl", *data, "-o", options, "-l", folder / "log", "-w", "start"], cwd=folder, check=True
    )
    try:
        client = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "martlet", "-d", "postgres"]
        subprocess.run([*client, "-c", "CREATE DATABASE prefect"], check=True)
        yield port
    finally:
        subprocess.run([*words, "pg_ctl", *data, "stop", "-m", "fast"], cwd=folder, check=True)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("initdb"), reason="needs Postgres' programs")
def test_prefects_server_of_compose_runs_on_postgres_behind_its_password(postgres: int, tmp_path: Path) -> None:
    service, port = compose()["services"]["prefect"], free_port()
    secrets = {
        "${POSTGRES_PASSWORD:?}": "a-secret",
        "${PREFECT_AUTH:?}": "team:secret",
        "postgres:5432": f"127.0.0.1:{postgres}",
    }
    environment = os.environ | {"PREFECT_HOME": str(tmp_path)}
    for name, value in service["environment"].items():
        for place, secret in secrets.items():
            value = value.replace(place, secret)
        environment[name] = value
    words = [{"0.0.0.0": "127.0.0.1", "4200": str(port)}.get(word, word) for word in service["command"]]
    server = subprocess.Popen([sys.executable, "-m", *words], env=environment, cwd=tmp_path)
    try:
        url = f"http://127.0.0.1:{port}/api"
        toy.until(lambda: answers(url), 240)
        assert httpx.post(f"{url}/flows/filter", json={}).status_code == 401
        assert httpx.post(f"{url}/flows/filter", json={}, auth=("team", "secret")).json() == []
    finally:
        server.terminate()
        server.wait(30)


def test_the_image_has_every_file_that_its_packages_need() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    root = CLUSTER.parents[1]
    assert all((root / name).exists() for name in names)
    config = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {pattern.removesuffix("*") for pattern in config["packages"]["find"]["include"]}
    files = {pattern.partition("/")[0] for patterns in config["data-files"].values() for pattern in patterns}
    assert packages | (files - {".dvc"}) | {".dvc/config", "pyproject.toml", "constraints.txt", "README.md"} == names


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
