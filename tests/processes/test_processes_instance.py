"""Addresses, the claim on a state directory, the record of an instance."""

import os
from pathlib import Path

import pytest

from fairway.processes import instance
from fairway.processes.instance import Address, Settings

PORTS = {"http": Address("0.0.0.0", 80), "https": Address("0.0.0.0", 443), "api": Address("127.0.0.1", 6443)}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        (":8080", Address("0.0.0.0", 8080)),
        ("8080", Address("0.0.0.0", 8080)),
        ("[::1]:80", Address("::1", 80)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert instance.parse_address(text, "0.0.0.0") == address


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3.4:", ":0", ":65536", ":-1", ":http"])
def test_a_bad_address_says_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not ADDR:PORT with a port between 1 and 65535"):
        instance.parse_address(text, "0.0.0.0")


def test_a_url_for_all_addresses_names_loopback() -> None:
    assert Address("0.0.0.0", 80).url("http") == "http://127.0.0.1:80"


def test_a_state_directory_is_claimed_once(tmp_path: Path) -> None:
    held = instance.claim(tmp_path)
    with pytest.raises(instance.Busy, match="another fairway runs"):
        instance.claim(tmp_path)
    os.close(held)
    os.close(instance.claim(tmp_path))


def test_a_recorded_instance_is_found_while_its_process_lives(tmp_path: Path) -> None:
    instance.write(Settings(str(tmp_path), **PORTS), ready=True)
    found = instance.read(tmp_path)
    assert found is not None
    assert (found.pid, found.ready) == (os.getpid(), True)
    (tmp_path / "instance.json").write_bytes(
        (tmp_path / "instance.json").read_bytes().replace(f'"pid":{os.getpid()}'.encode(), b'"pid":1')
    )
    assert instance.read(tmp_path) is None


@pytest.mark.parametrize(("text", "found"), [("512Mi", 512 << 20), ("2Gi", 2 << 30), ("64Gi", 64 << 30)])
def test_the_size_of_a_push(text: str, found: int) -> None:
    assert instance.push_bytes(text) == found


@pytest.mark.parametrize("text", ["", "big", "1Ki", "65Gi", "-2Gi", "512MB"])
def test_sizes_that_no_push_can_have(text: str) -> None:
    with pytest.raises(ValueError, match=f"--max-push-size: '{text}' is not a size between 1Mi and 64Gi, such as 2Gi"):
        instance.push_bytes(text)
