"""kubeconfig files: what we write can be read, and what is wrong is named."""

from pathlib import Path

import pytest

from fairway.kube.client import kubeconfig
from fairway.kube.client.kubeconfig import Access, KubeconfigError

ACCESS = Access(server="https://127.0.0.1:6443", ca=b"CA", certificate=b"CERT", key=b"KEY")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_bytes(kubeconfig.render(ACCESS, name="fairway"))
    assert kubeconfig.load(file) == ACCESS


def test_the_key_is_not_in_the_repr() -> None:
    assert "KEY" not in repr(ACCESS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such kubeconfig"),
        ("[]", "not a kubeconfig"),
        ("current-context: x", 'contexts: there is no entry named "x"'),
        ("{a: [", "config"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    with pytest.raises(KubeconfigError, match=message):
        kubeconfig.load(file)


def test_certificates_that_are_none_are_an_error_not_a_crash() -> None:
    with pytest.raises(KubeconfigError, match="cannot be used"):
        kubeconfig.connect(ACCESS)
