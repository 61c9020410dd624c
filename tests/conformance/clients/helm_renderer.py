"""Helm itself, asked line by line: what `helm template` makes of a chart, what `helm lint` says, how it reads YAML."""

import json
import sys

import helm_python as helm


def template(folder: str, values: object, name: str, namespace: str) -> object:
    with helm.Config(namespace=namespace, kubeconfig_content="kind: Config", storage_driver="memory") as config:
        text = config.install(folder, name, values, dry_run="client")["manifest"]
    return [one for part in text.split("\n---\n") if (one := helm.values_from_yaml(part))]


def lint(folder: str) -> object:
    return [one["error"] for one in helm.lint(folder, strict=True)["messages"] if one["severity"] > 1]


def yaml(text: str) -> object:
    return helm.values_from_yaml(text)


for line in sys.stdin:
    wish, *arguments = json.loads(line)
    try:
        answer = {"made": globals()[wish](*arguments)}
    except helm.HelmError as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer), flush=True)
