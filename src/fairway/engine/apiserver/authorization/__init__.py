"""User and attributes to yes or no: masters, open paths, nodes, RBAC; nobody's opinion is a no."""

from fairway.engine.apiserver.authorization.attributes import Attributes as Attributes
from fairway.engine.apiserver.authorization.chain import Authority as Authority
from fairway.engine.apiserver.authorization.chain import Authorization as Authorization
from fairway.engine.apiserver.authorization.chain import Decision as Decision
from fairway.engine.apiserver.authorization.chain import refusal as refusal
