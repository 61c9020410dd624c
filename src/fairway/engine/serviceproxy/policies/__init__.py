"""NetworkPolicies to nftables: which new connections a pod may take and make.

Reads: NetworkPolicy, Pod, Namespace.   Writes: one nftables table.
Loop:  whole.   Flow: snapshot -> translate (ir) -> plan -> render -> nftables.
`Gate` keeps a pod from starting before its policies are in force.
"""

from fairway.engine.serviceproxy.policies.controller import run as run
from fairway.engine.serviceproxy.policies.gate import Gate as Gate
