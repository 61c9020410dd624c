"""Pod addresses and links: one point-to-point veth pair per pod sandbox."""

from fairway.engine.kubelet.network.pods import PodNetwork as PodNetwork
