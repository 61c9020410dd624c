"""User and attributes to yes or no: the first authorizer with an opinion decides, nobody's opinion is a no."""

from fairway.engine.apiserver.authorization.attributes import Attributes as Attributes
from fairway.engine.apiserver.authorization.chain import AUTHORIZERS as AUTHORIZERS
from fairway.engine.apiserver.authorization.chain import Authorizer as Authorizer
from fairway.engine.apiserver.authorization.chain import authorize as authorize
from fairway.engine.apiserver.authorization.chain import refusal as refusal
