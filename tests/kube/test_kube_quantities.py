"""Resource quantities."""

import pytest

from fairway.kube.api import quantities


@pytest.mark.parametrize(
    ("text", "millis"),
    [("100m", 100), ("1", 1000), (2, 2000), ("0.1", 100), ("1.5", 1500), ("1u", 1), ("1e1", 10000), ("-1", -1000)],
)
def test_cpu_is_counted_in_thousandths_rounded_up(text: str | int, millis: int) -> None:
    assert quantities.millis(text) == millis


@pytest.mark.parametrize(
    ("text", "size"),
    [("64Mi", 64 << 20), ("1.5Gi", 3 << 29), ("1k", 1000), ("1E", 10**18), ("128974848000m", 128974848), ("1e3", 1000)],
)
def test_memory_is_counted_in_bytes(text: str, size: int) -> None:
    assert quantities.whole(text) == size


@pytest.mark.parametrize("text", ["", "1 Gi", "1GiB", "Mi", "--1", "0x10", "1e", "1٣"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantities.parse(text)
