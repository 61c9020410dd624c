"""The edge, placed, to everything that HAProxy reads. User text is typed and checked before, never escaped here."""

from fairway.edge.render.render import render as render
from fairway.edge.render.rendered import Options as Options
from fairway.edge.render.rendered import Rendered as Rendered
from fairway.edge.render.rendered import Section as Section
from fairway.edge.render.rendered import files as files
