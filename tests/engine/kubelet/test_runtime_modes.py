"""The contract of the runtime once more, as an ordinary user: with subordinate ids and without, by every runtime."""

import pytest
import rootless_pytest

pytestmark = pytest.mark.real
CONTRACT = "tests/engine/kubelet/test_runtime_contract.py"


@pytest.mark.parametrize("ids", rootless_pytest.MAPS)
def test_the_contract_holds_without_privileges(ids):
    done = rootless_pytest.run(ids, ("-q", "--color=no", CONTRACT))
    assert done.returncode == 0, done.stdout[-6000:]
    assert "skipped" not in done.stdout
