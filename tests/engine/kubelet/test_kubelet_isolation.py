"""What a program in a real pod cannot see, do or reach: one command for each way out.

Every command runs in the attacker's container, as root and with the default settings; it must fail, or print nothing
of what is looked for.
"""

import os
import socket

import patience
import pytest

from fairway.engine.kubelet.runtime.model import Mount

pytestmark = pytest.mark.real

SECRET = "secret-of-the-node"
NEIGHBOUR = "secret-of-the-neighbour"

# What is tried, and the shell command that would do it; it ends with 0 when the way out is open.
CHECKS = [
    ("see processes of the node", "[ $(ls /proc | grep -c '^[0-9]') -gt 8 ]"),
    ("see a program of the node by name", "ps | grep -q '[z]ygote'"),
    ("see a process of another pod", "ps | grep -q '[s]leep 4242'"),
    ("read a file of the node", "cat {secret}"),
    ("find the node's files by name", "find / -xdev -name secret-file | grep ."),
    ("reach the node's root through process 1", "ls /proc/1/root{folder}"),
    ("reach the node's root through a working folder", "ls /proc/self/cwd/../../../../../..{folder}"),
    ("read a file of another pod", "find / -name neighbour-file 2>/dev/null | grep ."),
    ("read another pod's shared memory", "ls /dev/shm | grep neighbour"),
    ("see the node's paths in its mounts", "cat /proc/mounts | grep {folder}"),
    ("see the environment of the node", "cat /proc/*/environ | grep -q FAIRWAY"),
    ("see the node's links", "ls /sys/class/net | grep -q node0"),
    ("see the addresses of other pods", "cat /proc/net/fib_trie /proc/net/arp | grep -q {neighbour_ip}"),
    ("change its own network", "ip link set eth0 down"),
    ("add an address", "ip addr add 10.42.9.9/32 dev eth0"),
    ("change the node's routes", "ip route add 10.99.0.0/16 via 169.254.1.1"),
    ("connect to a loopback port of the node", "nc -w 1 127.0.0.1 {port} </dev/null"),
    ("connect to a loopback port of another pod", "nc -w 1 {neighbour_ip} 4243 </dev/null"),
    ("reach an abstract socket of the node", "cat /proc/net/unix | grep -q fairway-abstract"),
    ("reach the zygote's socket", "[ -e {run_dir}/zygote.sock ]"),
    ("reach the API's socket", "find / -name api.sock -o -name kubelet.sock -o -name zygote.sock 2>/dev/null | grep ."),
    ("find a descriptor that was left open", "ls -l /proc/self/fd /proc/1/fd | grep -E 'run/|{folder}|anon_inode'"),
    ("mount a file system", "mount -t tmpfs t /tmp"),
    ("bind a folder elsewhere", "mount -o bind /proc /tmp"),
    ("unmount a mask", "umount /proc/kcore || umount /sys/firmware"),
    ("remount /proc/sys for writing", "mount -o remount,rw /proc/sys"),
    ("make namespaces", "unshare -m true"),
    ("become root of a user namespace", "unshare -Ur true"),
    ("enter a namespace", "nsenter -t 1 -n true"),
    ("change the root", "mkdir -p /tmp/r && pivot_root /tmp/r /tmp/r"),
    ("load a module", "insmod /bin/busybox"),
    ("unload a module", "rmmod overlay"),
    ("signal a process of the node", "kill -0 {zygote}"),
    ("read the memory of a process of the node", "head -c 1 /proc/{zygote}/mem"),
    ("write to a kernel setting", "echo 1 > /proc/sys/kernel/panic"),
    ("choose the kernel's core handler", "echo '|/bin/sh' > /proc/sys/kernel/core_pattern"),
    ("press the magic key", "echo h > /proc/sysrq-trigger"),
    ("read the kernel's log", "dmesg | grep -q ."),
    ("read the kernel's memory", "head -c 1 /proc/kcore | grep -q ."),
    ("read the node's keys", "head -c 1 /proc/keys | grep -q ."),
    ("make a device file of the disk", "mknod /tmp/disk b 254 0"),
    ("open the disk", "head -c 1 /dev/vda"),
    ("open the machine's memory", "head -c 1 /dev/mem"),
    ("change a control group", "for f in $(find /sys/fs/cgroup -name *.procs); do echo 0 > $f && exit; done; false"),
    ("mount the control groups", "mkdir -p /tmp/c && mount -t cgroup -o memory cg /tmp/c"),
    ("see its control group's place", "cat /proc/self/cgroup | grep -E 'kubepods|fairway'"),
    ("write to /sys", "echo add > /sys/class/net/eth0/uevent"),
    ("change the host name", "hostname other"),
    ("set the clock", "date -s 2001-01-01 2>&1; [ $(date +%Y) = 2001 ]"),
    ("restart the machine", "reboot -f"),
    ("switch swap on", "swapon /bin/busybox"),
    ("raise its priority", "nice -n -10 true 2>&1 | grep -q . && false || [ $(nice -n -10 nice) -lt 0 ]"),
    ("write to a read-only volume", "echo x > /config/file"),
    ("leave a volume through a link", "ln -s {secret} /data/link && cat /data/link"),
    ("get more rights by setuid", "cp /bin/busybox /data/su && chmod 4755 /data/su && /data/su mount -t tmpfs t /tmp"),
    ("overwrite the program that started it", "echo x > /proc/1/exe"),
    ("see more processes than its own by hidepid", "mount -o remount,hidepid=0 /proc"),
]  # fmt: skip


def test_a_pod_cannot_get_out(node):
    async def body(node):
        await node.network.setup_node()
        secret = node.folder / "secret-file"
        secret.write_text(SECRET)
        for name in ("data", "config"):
            (node.folder / name).mkdir()
            (node.folder / name / "file").write_text("mine")
        os.environ["FAIRWAY_TEST_SECRET"] = SECRET
        listener = socket.create_server(("127.0.0.1", 0))
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0fairway-abstract")
        addresses = {}
        for name in ("attacker", "neighbour"):
            await node.runtime.create_sandbox(name, name)
            addresses[name] = await node.network.attach(name)
        other = f"echo {NEIGHBOUR} > /neighbour-file; cp /neighbour-file /dev/shm/neighbour; "
        other += "nc -l -s 127.0.0.1 -p 4243 & exec sleep 4242"
        await node.runtime.start(node.spec("neighbour", "sh", "-c", other, sandbox="neighbour"))
        mounts = (
            Mount(str(node.folder / "data"), "/data"),
            Mount(str(node.folder / "config"), "/config", read_only=True),
        )
        await node.runtime.start(node.spec("attacker", "sleep", "1000", sandbox="attacker", mounts=mounts))
        places = {
            "secret": secret,
            "folder": node.folder,
            "run_dir": node.run_dir,
            "port": listener.getsockname()[1],
            "neighbour_ip": addresses["neighbour"],
            "zygote": node.zygote.pid,
        }
        found = []
        for what, template in CHECKS:
            command = template.format(**places)
            result = await node.runtime.exec("attacker", ("sh", "-c", command), timeout_seconds=patience.seconds(10))
            text = result.stdout.decode() + result.stderr.decode()
            assert result.exit_code != 127, f"{what}: {text}"  # a missing tool proves nothing
            if result.exit_code == 0 or SECRET in text or NEIGHBOUR in text:
                found.append((what, command, text))
        assert not found, "\n".join(map(str, found))
        assert len(CHECKS) >= 24
        for held in (listener, abstract):
            held.close()

    node(body)
