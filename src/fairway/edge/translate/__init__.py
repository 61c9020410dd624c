"""Kubernetes objects to the edge's own words: each Ingress by itself, then all of them together.

annotations ─┐
Ingress ─────┴▶ part ─┐
Services, slices ─────┼▶ Edge
Secrets ──────────────┘
"""

from fairway.edge.translate.translation import Translation as Translation
from fairway.edge.translate.translation import translate as translate
