"""The structure of API objects: which fields exist, what they hold, and what is wrong with a given object.  Pure."""

from fairway.engine.apiserver.schema.check import Cause as Cause
from fairway.engine.apiserver.schema.check import Report as Report
from fairway.engine.apiserver.schema.check import check as check
from fairway.engine.apiserver.schema.depth import may_be_too_deep as may_be_too_deep
from fairway.engine.apiserver.schema.depth import too_deep as too_deep
from fairway.engine.apiserver.schema.descriptions import Descriptions as Descriptions
from fairway.engine.apiserver.schema.descriptions import load_descriptions as load_descriptions
from fairway.engine.apiserver.schema.duplicates import duplicates as duplicates
from fairway.engine.apiserver.schema.load import Schemas as Schemas
from fairway.engine.apiserver.schema.load import load as load
from fairway.engine.apiserver.schema.prune import prune as prune
from fairway.engine.apiserver.schema.types import DEDUCED as DEDUCED
from fairway.engine.apiserver.schema.types import Shape as Shape
from fairway.engine.apiserver.schema.types import Type as Type
from fairway.engine.apiserver.schema.zero import complete as complete
