"""A node in fresh namespaces for every test that wants one, and the image that its containers have."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_node import NodeRunner


@pytest.fixture(scope="session")
def busybox_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with a static busybox; needs Debian's package busybox-static."""
    root = tmp_path_factory.mktemp("busybox")
    for folder in ("bin", "etc", "tmp", "home"):
        (root / folder).mkdir()
    (root / "tmp").chmod(0o1777)
    binary = shutil.which("busybox")
    assert binary, "install the package busybox-static"
    shutil.copy2(binary, root / "bin" / "busybox")
    for name in subprocess.check_output([binary, "--list"], text=True).split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:User:/home:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nuser:x:1001:\nextra:x:2002:user\n")
    return root


@pytest.fixture
def node(tmp_path: Path, busybox_image: Path) -> Iterator[NodeRunner]:
    """Call it with a coroutine function that takes a Node. `make test-runtimes` runs all of them with each runtime."""
    yield NodeRunner(tmp_path, busybox_image, os.environ.get("FAIRWAY_TEST_RUNTIME", ""))
