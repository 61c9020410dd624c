"""HAProxy as a program: find the binary, start and replace the process, speak to its runtime socket."""

from fairway.toolkit.haproxy.binary import PREFERRED as PREFERRED
from fairway.toolkit.haproxy.binary import Binary as Binary
from fairway.toolkit.haproxy.binary import find as find
from fairway.toolkit.haproxy.errors import CommandRefused as CommandRefused
from fairway.toolkit.haproxy.errors import ConfigRefused as ConfigRefused
from fairway.toolkit.haproxy.errors import HaproxyError as HaproxyError
from fairway.toolkit.haproxy.errors import HaproxyMissing as HaproxyMissing
from fairway.toolkit.haproxy.errors import SocketUnreachable as SocketUnreachable
from fairway.toolkit.haproxy.process import Process as Process
from fairway.toolkit.haproxy.runtime import RuntimeSocket as RuntimeSocket
from fairway.toolkit.haproxy.runtime import ServerState as ServerState
