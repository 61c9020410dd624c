"""What Helm does in practice: install with a hook, upgrade, a refused upgrade, roll back, list, uninstall."""

import os
import sys

import helm_python as helm


def main(chart: str) -> None:
    with helm.Config(namespace="helm", kubeconfig_path=os.environ["KUBECONFIG"]) as config:
        made = config.install(chart, "demo", {"replicas": 2}, wait="watcher", timeout=60, create_namespace=True)
        assert (made["revision"], made["status"]) == (1, "deployed"), made
        made = config.upgrade(chart, "demo", {"replicas": 1, "text": "two"}, wait="watcher", timeout=60)
        assert (made["revision"], made["status"]) == (2, "deployed"), made
        try:
            config.upgrade(chart, "demo", {"replicas": -1})
        except helm.HelmError as error:
            text = '"demo" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
            assert text in str(error), error
        else:
            raise AssertionError("replicas: -1 was taken")
        config.rollback("demo", version=1, wait="watcher", timeout=60)
        history = [(each["revision"], each["status"]) for each in config.history("demo")]
        assert history == [(1, "superseded"), (2, "superseded"), (3, "failed"), (4, "deployed")], history
        assert [each["name"] for each in config.list()] == ["demo"]
        config.uninstall("demo", wait="watcher", timeout=60)
        assert config.list() == []
    print("fine")


main(sys.argv[1])
