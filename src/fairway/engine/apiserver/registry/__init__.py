"""The create, read, update, patch and delete flow that all kinds share."""

from fairway.engine.apiserver.registry import versions as versions
from fairway.engine.apiserver.registry.allocation import ServiceAllocator as ServiceAllocator
from fairway.engine.apiserver.registry.bodies import Body as Body
from fairway.engine.apiserver.registry.bodies import Decoded as Decoded
from fairway.engine.apiserver.registry.bodies import decode as decode
from fairway.engine.apiserver.registry.definitions import Definitions as Definitions
from fairway.engine.apiserver.registry.filters import EVERYTHING as EVERYTHING
from fairway.engine.apiserver.registry.filters import Filter as Filter
from fairway.engine.apiserver.registry.kinds import Kinds as Kinds
from fairway.engine.apiserver.registry.kinds import resource_of as resource_of
from fairway.engine.apiserver.registry.kinds import subject_of as subject_of
from fairway.engine.apiserver.registry.options import DeleteOptions as DeleteOptions
from fairway.engine.apiserver.registry.options import WriteOptions as WriteOptions
from fairway.engine.apiserver.registry.patches import PatchType as PatchType
from fairway.engine.apiserver.registry.registry import Registry as Registry
from fairway.engine.apiserver.registry.registry import Result as Result
