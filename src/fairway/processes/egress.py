"""The way of pods to the outside: a link to the host with masquerading, or slirp4netns, or none.

    pod → cluster namespace (masquerade) → uplink → host (masquerade) → outside

With `veth` the host gets one link and one nftables table that belongs to this process (`flags owner`): when it ends,
however that happens, the kernel removes both. `net.ipv4.ip_forward` is put back by the last that ends in order. Inside,
the link is always named `uplink`; nothing from it gets in, and the host's end of it answers nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fairway.processes import ip_forward
from fairway.toolkit import linux
from fairway.toolkit.libnftables import LibNftables, NftablesError
from fairway.toolkit.netlink import Netlink

UPLINK = "uplink"
_POD_CIDR = "10.42.0.0/16"
_HOST = ip_forward.Host()
_START_SECONDS = 10
_INSIDE = f"""
table ip fairway-egress {{
 chain postrouting {{
  type nat hook postrouting priority srcnat;
  ip saddr {_POD_CIDR} oifname "{UPLINK}" masquerade
 }}
 chain input {{ type filter hook input priority filter; iifname "{UPLINK}" ct state new drop; }}
 chain forward {{
  type filter hook forward priority filter;
  iifname "{UPLINK}" ct state new drop
  oifname "{UPLINK}" tcp flags syn tcp option maxseg size set rt mtu
 }}
}}
"""
_OUTSIDE = """
table ip {table} {{
 flags owner;
 chain postrouting {{
  type nat hook postrouting priority srcnat;
  ip saddr {theirs} oifname != "{link}" masquerade
 }}
 chain input {{ type filter hook input priority filter; iifname "{link}" ip daddr {ours} reject; }}
 chain forward {{
  type filter hook forward priority filter;
  iifname "{link}" ip saddr != {theirs} drop
  iifname "{link}" tcp flags syn tcp option maxseg size set rt mtu
 }}
}}
"""


class EgressFailed(Exception):
    """This way to the outside cannot be had here; the message says why and what to do."""


class Egress:
    """A way to the outside that is open; `words` tell which, for people."""

    def __init__(self, words: str, close: Callable[[], None] = lambda: None) -> None:
        self.words = words
        self.close = close


def open_egress(mode: str, pid: int) -> Egress:
    """Connect the network namespace of process `pid`; `auto` never fails, it tells why it had to do without.

    Call it while the process has one thread. Raises EgressFailed.
    """
    ways = {"veth": (_veth,), "slirp4netns": (_slirp4netns,), "none": ()}
    auto = (_veth, _slirp4netns) if os.geteuid() == 0 else (_slirp4netns,)
    reasons = []
    for way in ways.get(mode, auto):
        try:
            return way(pid)
        except EgressFailed as error:
            if mode != "auto":
                raise
            reasons.append(str(error))
    return Egress("; ".join(["none", *reasons]))


def _veth(pid: int) -> Egress:
    library = LibNftables.open()
    if library is None:
        raise EgressFailed("there is no libnftables: apt-get install -y libnftables1")
    link, (ours, theirs) = f"fw{pid}", _free_pair(pid)
    try:
        _refuse_closed_forwarding(library)
        library.run(_OUTSIDE.format(table=f"fairway-{pid}", link=link, ours=ours, theirs=theirs))
        _link(pid, link, ours)
        _inside(pid, lambda: _configure(f"{theirs}/30", ours))
        ip_forward.switch_on(_HOST)
    except (OSError, NftablesError) as error:
        library.close()
        raise EgressFailed(f"veth: {error}") from error
    return Egress("veth", lambda: _close_veth(library, link))


def _close_veth(library: LibNftables, link: str) -> None:
    """Give the table back, then the host's setting; one that cannot be written any more stays as it is."""
    try:
        foreign = [chain for chain in _forward_chains(library) if not chain["table"].startswith("fairway-")]
        ip_forward.put_back(_HOST, link, others_forward=bool(foreign))
    except (OSError, NftablesError) as error:
        print(f"level=warning room=launcher did=keep setting=net.ipv4.ip_forward error={error}", file=sys.stderr)
    finally:
        library.close()


def _forward_chains(library: LibNftables) -> list[dict[str, str]]:
    found = json.loads(library.run("list chains ip", json=True))["nftables"]
    return [each["chain"] for each in found if each.get("chain", {}).get("hook") == "forward"]


def _refuse_closed_forwarding(library: LibNftables) -> None:
    """A hook of somebody else that drops what is forwarded cannot be overruled (Docker sets such a policy)."""
    for chain in _forward_chains(library):
        if chain.get("policy") == "drop":
            where = f"table {chain['table']}, chain {chain['name']}"
            raise NftablesError(f"the host's firewall drops what is forwarded ({where}): `nft list ruleset`")


def _link(pid: int, link: str, ours: str) -> None:
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as netlink:
            netlink.add_veth(link, UPLINK, handle)
            index = netlink.link_index(link)
            assert index is not None
            netlink.add_address(index, f"{ours}/30")
            netlink.set_up(index)
    finally:
        os.close(handle)


def _configure(address: str, gateway: str) -> None:
    """Inside: the other end of the link, and masquerading."""
    with Netlink() as netlink:
        index = netlink.link_index(UPLINK)
        assert index is not None
        netlink.add_address(index, address)
        netlink.set_up(index)
        netlink.add_route("0.0.0.0/0", index, gateway=gateway)
    _masquerade()


def _masquerade() -> None:
    nft = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if nft is None:
        raise OSError(2, "there is no nft: apt-get install -y nftables")
    done = subprocess.run([nft, "-f", "-"], input=_INSIDE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(1, f"nft: {done.stderr.strip()}")


def _slirp4netns(pid: int) -> Egress:
    program = shutil.which("slirp4netns")
    if program is None:
        raise EgressFailed("slirp4netns is not installed: apt-get install -y slirp4netns")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise EgressFailed("slirp4netns needs /dev/net/tun: modprobe tun; chmod 0666 /dev/net/tun")
    ready, write_ready = os.pipe2(os.O_CLOEXEC)
    stays, alive = os.pipe2(os.O_CLOEXEC)  # it ends when this process has, whose end of the pipe the kernel then closes
    options = ("--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp")
    process = subprocess.Popen(
        [program, *options, f"--ready-fd={write_ready}", f"--exit-fd={stays}", str(pid), UPLINK],
        pass_fds=(write_ready, stays),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(write_ready)
    os.close(stays)

    def end() -> None:
        os.close(alive)
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr:
            process.stderr.close()

    with os.fdopen(ready, "rb") as pipe:
        begun = pipe.read(1) == b"1"
    if not begun:
        said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
        end()
        raise EgressFailed(f"slirp4netns: {said or 'ended without a word'}")
    try:
        _inside(pid, _masquerade)
    except OSError as error:
        end()
        raise EgressFailed(f"slirp4netns: {error}") from error
    return Egress("slirp4netns", end)


def _inside(pid: int, action: Callable[[], None]) -> None:
    """Do something in the network namespace of a process, in a child. Raises OSError with what went wrong there."""
    read, write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            _enter(pid)
            action()
        except BaseException as error:
            os.write(write, (str(error) or repr(error)).encode()[:4000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        problem = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    if problem:
        raise OSError(1, problem)


def _enter(pid: int) -> None:
    signal.set_wakeup_fd(-1)
    namespaces = (("user", linux.CLONE_NEWUSER), ("net", linux.CLONE_NEWNET))
    for name, kind in namespaces if os.geteuid() else namespaces[1:]:
        handle = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        linux.setns(handle, kind)
        os.close(handle)


def _free_pair(pid: int) -> tuple[str, str]:
    """Two link-local addresses of a /30 that no route of the host covers: the host's and the cluster's.

    Not from 169.254.1.0/24, where pods have their gateway, nor near the metadata service of clouds.
    """
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    taken = {bytes.fromhex(fields[1])[::-1] for fields in routes}
    for number in range(64 * 126):
        third, fourth = divmod((pid + number) % (64 * 126), 64)
        network = bytes((169, 254, third + 2, fourth * 4))
        if network not in taken:
            prefix = f"169.254.{third + 2}."
            return f"{prefix}{fourth * 4 + 1}", f"{prefix}{fourth * 4 + 2}"
    raise EgressFailed("veth: every link-local network of the host is taken")
