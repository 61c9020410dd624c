"""The part of KindCluster that kr8s' fixtures use."""

import os
import shutil
import subprocess
from pathlib import Path


class KindCluster:
    """Speaks to the cluster that KUBECONFIG_LIVE names; creates and deletes nothing."""

    def __init__(self, name: str, image: str | None = None) -> None:
        self.name = name
        self.kubeconfig_path = Path(os.environ["KUBECONFIG_LIVE"])
        self.kubectl_path = Path(shutil.which("kubectl") or "kubectl")

    def create(self) -> None:
        """It is there already."""

    def delete(self) -> None:
        """Whoever made it ends it."""

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl on it."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig_path)}
        command = [str(self.kubectl_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
