"""Who did what, when: a policy decides how much of each request is written to a file of JSON lines.

Follows audit.k8s.io/v1. Contents of Secrets, tokens and reviews of tokens are never written, whatever the policy says.
"""

from fairway.engine.apiserver.audit.audit import Audit as Audit
from fairway.engine.apiserver.audit.file import AuditFile as AuditFile
from fairway.engine.apiserver.audit.handler import Audited as Audited
from fairway.engine.apiserver.audit.handler import Users as Users
from fairway.engine.apiserver.audit.policy import Policy as Policy
from fairway.engine.apiserver.audit.policy import load as load
