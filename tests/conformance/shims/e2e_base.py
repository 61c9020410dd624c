"""In place of `kubernetes.e2e_test.base`, which is in the client's repository but not in its source distribution."""

from kubernetes import config
from kubernetes.client import Configuration


def get_e2e_configuration() -> Configuration:
    """What KUBECONFIG says."""
    found = Configuration()
    config.load_kube_config(client_configuration=found)
    return found
