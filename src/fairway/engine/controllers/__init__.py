"""Everything that makes the cluster be what its objects say, apart from scheduling and running pods.

Reads:  Deployment, ReplicaSet, Pod, Service, EndpointSlice, Namespace, Node, Lease, and the metadata of all kinds.
Writes: ReplicaSets, Pods, EndpointSlices, Endpoints, statuses, Events, deletes.
Loop:   keyed. One folder per controller: `plan.py` decides, `controller.py` acts. The shape to copy is
`deployment/`.
"""

from fairway.engine.controllers.room import run as run
