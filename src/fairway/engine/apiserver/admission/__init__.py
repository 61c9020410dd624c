"""Change or refuse a write: one plugin per file, their order in one tuple."""

from fairway.engine.apiserver.admission.chain import PLUGINS as PLUGINS
from fairway.engine.apiserver.admission.chain import Plugin as Plugin
from fairway.engine.apiserver.admission.chain import admit as admit
from fairway.engine.apiserver.admission.chain import plugins as plugins
from fairway.engine.apiserver.admission.review import CREATE as CREATE
from fairway.engine.apiserver.admission.review import DELETE as DELETE
from fairway.engine.apiserver.admission.review import UPDATE as UPDATE
from fairway.engine.apiserver.admission.review import Review as Review
