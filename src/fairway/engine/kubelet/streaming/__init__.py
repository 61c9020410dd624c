"""exec, attach and port-forward: a client's SPDY or WebSocket connection to the streams of a container or pod.

Layers: `wires` (bytes of a connection) -> `channels` (its byte streams, by `websocket_channels` or `spdy_channels`)
-> `commands` and `forwarding` (what the streams are for) -> `endpoints` (who asks for what, in which protocol).
"""
