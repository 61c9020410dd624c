"""Git: the repositories that Apps are made from, the way in for `git push`, and the way to forges.

Flow:  push or fetch → repository → head, files → checkout or tarball.
Every repository is hostile input: git runs without privileges and under limits, and nothing that a repository says
(names, links, sizes, hooks, configuration) is followed unchecked.
"""

from fairway.delivery.git.endpoint import GitEndpoint as GitEndpoint
from fairway.delivery.git.errors import SourceError as SourceError
from fairway.delivery.git.fetch import Login as Login
from fairway.delivery.git.limits import Limits as Limits
from fairway.delivery.git.objects import Entry as Entry
from fairway.delivery.git.repositories import Repositories as Repositories
from fairway.delivery.git.upkeep import run_upkeep as run_upkeep
