"""Checks of running containers: http, tcp, exec and gRPC; when they run and what their answers mean."""

from fairway.engine.kubelet.probes.prober import Kind as Kind
from fairway.engine.kubelet.probes.prober import Prober as Prober
from fairway.engine.kubelet.probes.result import Result as Result
