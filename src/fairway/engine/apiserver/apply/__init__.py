"""How a body becomes the next object: JSON patch, merge patch, strategic merge patch, server-side apply.  Pure."""

from fairway.engine.apiserver.apply.errors import Conflict as Conflict
from fairway.engine.apiserver.apply.errors import ConflictCause as ConflictCause
from fairway.engine.apiserver.apply.errors import PatchError as PatchError
