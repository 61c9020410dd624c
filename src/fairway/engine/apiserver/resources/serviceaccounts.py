"""ServiceAccounts: who a pod is."""

from datetime import datetime

from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Column,
    Kind,
    Object,
    age_of,
    keep_nothing,
    name_of,
    nothing,
)


def row(account: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [name_of(account), len(account.get("secrets") or ()), age_of(account, now)]


SERVICE_ACCOUNTS = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    namespaced=True,
    list_kind="ServiceAccountList",
    short_names=("sa",),
    subresources=("token",),
    columns=(NAME, Column("Secrets", "string", "How many secrets pods of this account may use."), AGE),
    row=row,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    delete_returns_object=True,
)
