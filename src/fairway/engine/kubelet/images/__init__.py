"""The kubelet's images: a reference and a pull policy in, layers to mount and a configuration out.

Reads: image registries, the image store.   Writes: the image store.
"""

from fairway.engine.kubelet.images.errors import ImageError as ImageError
from fairway.engine.kubelet.images.errors import ImageNotPresent as ImageNotPresent
from fairway.engine.kubelet.images.errors import InvalidName as InvalidName
from fairway.engine.kubelet.images.errors import PullError as PullError
from fairway.engine.kubelet.images.service import ImageService as ImageService
from fairway.engine.kubelet.images.service import Policy as Policy
from fairway.engine.kubelet.images.user import UnknownUser as UnknownUser
from fairway.engine.kubelet.images.user import User as User
from fairway.engine.kubelet.images.user import resolve_user as resolve_user
from fairway.toolkit.oci.authentication import BadCredentials as BadCredentials
from fairway.toolkit.oci.authentication import Credential as Credential
from fairway.toolkit.oci.authentication import parse_docker_config as parse_docker_config
from fairway.toolkit.oci.distribution import Settings as Settings
from fairway.toolkit.oci.store import Image as Image
from fairway.toolkit.oci.store import ImageConfig as ImageConfig
