"""The host's forwarding is put back by the last who needed it, and never taken from anybody else."""

from pathlib import Path

import pytest

from fairway.processes import ip_forward
from fairway.processes.ip_forward import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "ip_forward", tmp_path / "before", tmp_path / "links")
    made.links.mkdir()
    made.setting.write_text("0\n")
    return made


def test_what_was_off_is_off_again(host: Host) -> None:
    ip_forward.switch_on(host)
    assert host.setting.read_text() == "1"
    assert ip_forward.put_back(host, "fw10", others_forward=False)
    assert host.setting.read_text() == "0"
    assert not ip_forward.put_back(host, "fw10", others_forward=False)


def test_what_was_on_stays_on(host: Host) -> None:
    host.setting.write_text("1\n")
    ip_forward.switch_on(host)
    assert not ip_forward.put_back(host, "fw10", others_forward=False)
    assert host.setting.read_text() == "1\n"


def test_the_last_instance_puts_it_back(host: Host) -> None:
    ip_forward.switch_on(host)
    ip_forward.switch_on(host)  # the second finds it on
    for link in ("fw10", "fw11"):
        (host.links / link).mkdir()
    assert not ip_forward.put_back(host, "fw10", others_forward=False)
    (host.links / "fw10").rmdir()
    assert ip_forward.put_back(host, "fw11", others_forward=False)
    assert host.setting.read_text() == "0"


def test_after_a_killed_instance_the_next_one_puts_it_back(host: Host) -> None:
    ip_forward.switch_on(host)
    ip_forward.switch_on(host)
    assert ip_forward.put_back(host, "fw12", others_forward=False)


def test_somebody_else_who_forwards_keeps_it(host: Host) -> None:
    ip_forward.switch_on(host)
    assert not ip_forward.put_back(host, "fw10", others_forward=True)
    assert host.setting.read_text() == "1"


def test_somebody_else_who_switched_it_off_is_obeyed(host: Host) -> None:
    ip_forward.switch_on(host)
    host.setting.write_text("0\n")
    assert not ip_forward.put_back(host, "fw10", others_forward=False)
