"""Schemas of custom resources: structural schemas as a graph of nodes, and what is done with values.  Pure."""

from fairway.engine.apiserver.schema.custom.budget import over_budget as over_budget
from fairway.engine.apiserver.schema.custom.compiled import Compiled as Compiled
from fairway.engine.apiserver.schema.custom.compiled import compile_schema as compile_schema
from fairway.engine.apiserver.schema.custom.sound import faults as faults
