"""Files for clusters in a cloud, held against what their readers say of themselves."""

import json
import re
from pathlib import Path

import pytest

from conftest import require_extra

require_extra("ray", "cluster")

import jsonschema
import ray
import yaml

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
# Fields of ray.io/v1 as KubeRay's API reference has them; `template` is a pod's and not checked here.
CLUSTER = {
    "suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations", "enableInTreeAutoscaling",
    "gcsFaultToleranceOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs",
}  # fmt: skip
HEAD = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
WORKERS = {
    "suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "rayStartParams",
    "template", "scaleStrategy", "numOfHosts",
}  # fmt: skip


def read(name: str) -> dict:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore")
def test_the_launcher_reads_its_file():
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(read("ray-cluster.yaml"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read("ray-cluster.yaml") | {"no_such_key": 1}, schema)


def test_kuberay_knows_every_field():
    made = read("kuberay.yaml")
    assert (made["apiVersion"], made["kind"]) == ("ray.io/v1", "RayCluster")
    spec = made["spec"]
    assert set(spec) <= CLUSTER
    assert set(spec["headGroupSpec"]) <= HEAD
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_one_version_of_ray_everywhere():
    text = "".join(path.read_text(encoding="utf-8") for path in DEPLOY.iterdir())
    found = set(re.findall(r"rayproject/ray:(\d[\d.]*\d)|ray==(\d[\d.]*\d)|rayVersion: \"([\d.]+)\"", text))
    locked = re.search(r"^ray==([\d.]+)", (DEPLOY.parent / "requirements-dev.txt").read_text(), re.MULTILINE)[
        1
    ]
    assert {next(filter(None, one)) for one in found} == {locked}
