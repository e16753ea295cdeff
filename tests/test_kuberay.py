"""The manifest of docs/cluster.md for Kubernetes: what can be said of it without one."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tuner.cli.run import run

ROOT = Path(__file__).parent.parent
SCHEMA = os.environ.get("TUNER_KUBERAY_CRD")
"""The file `ray.io_rayjobs.yaml` of KubeRay's Helm chart, in `kuberay-operator/crds`: 25,000 lines, not ours."""


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    (text,) = [block for block in blocks if "kind: RayJob" in block]
    found: dict[str, Any] = YAML(typ="safe").load(text)
    return found


def groups(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = manifest["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_its_command_is_one_of_ours_and_its_results_are_on_a_volume_of_the_head(manifest: dict[str, Any]) -> None:
    program, command, *arguments = shlex.split(manifest["spec"]["entrypoint"])
    assert (program, command) == ("tuner", "run")
    # That the file is there, click would ask.
    given = run.make_context("run", [str(ROOT / "sweeps" / "digits.yaml"), *arguments[1:]]).params
    assert given["engine"] == "ray"
    (head, *_) = groups(manifest)
    pod = head["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    for path in (arguments[0], str(given["results"])):
        assert any(path.startswith(f"{mount}/") for mount in mounts.values())


def test_its_ray_is_that_of_the_constraints_and_all_pods_have_one_image(manifest: dict[str, Any]) -> None:
    (version,) = re.findall(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert manifest["spec"]["rayClusterSpec"]["rayVersion"] == version
    images = {pod["image"] for group in groups(manifest) for pod in group["template"]["spec"]["containers"]}
    assert len(images) == 1


@pytest.mark.slow
def test_the_schema_of_the_operator_takes_it_and_would_refuse_a_slip(manifest: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    if SCHEMA is None:
        pytest.skip("TUNER_KUBERAY_CRD does not name the file ray.io_rayjobs.yaml of KubeRay's Helm chart")
    versions = YAML(typ="safe").load(Path(SCHEMA))["spec"]["versions"]
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in versions if f"ray.io/{v['name']}" == manifest["apiVersion"]]
    closed = without_unknown_fields(schema)
    jsonschema.validate(manifest, closed)
    manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 4
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.validate(manifest, closed)


def without_unknown_fields(schema: Any) -> Any:
    """As Kubernetes takes a structural schema: what it does not name is an error."""
    if isinstance(schema, list):
        return [without_unknown_fields(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: without_unknown_fields(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed
