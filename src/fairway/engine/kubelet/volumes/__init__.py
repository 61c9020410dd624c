"""The volumes of pods: folders that containers mount, kept up to date while the pod lives."""

from fairway.engine.kubelet.volumes.claims import Claims as Claims
from fairway.engine.kubelet.volumes.mounts import Mounts as Mounts
from fairway.engine.kubelet.volumes.mounts import PlainMounts as PlainMounts
from fairway.engine.kubelet.volumes.mounts import SystemMounts as SystemMounts
from fairway.engine.kubelet.volumes.tokens import Tokens as Tokens
from fairway.engine.kubelet.volumes.volumes import Volumes as Volumes
