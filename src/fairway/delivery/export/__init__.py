"""The way out: what an App runs on, as files that need no Fairway."""

from fairway.delivery.export.read import exported as exported
from fairway.delivery.export.render import Exported as Exported
from fairway.delivery.export.render import helm as helm
from fairway.delivery.export.render import kustomize as kustomize
from fairway.delivery.export.render import plain as plain
