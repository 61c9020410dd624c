"""What holds for every kind: rows fit columns, nulls do no harm, defaults are filled once."""

import copy
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.resources import KINDS, Kind

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALL = [pytest.param(kind, id=kind.kind) for kind in KINDS]


def empty(kind: Kind, **fields: Any) -> Object:
    metadata = {"name": "x", "uid": "1", "creationTimestamp": None, **({"namespace": "n"} if kind.namespaced else {})}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("fields", [{}, {"spec": {}, "status": {}}, {"spec": None, "status": None}], ids=str)
def test_nearly_nothing_passes_through_every_hook(kind: Kind, fields: Object) -> None:
    obj = empty(kind, **copy.deepcopy(fields))
    kind.default(obj)
    kind.prepare_create(obj)
    kind.validate(obj, None)
    kind.selectable(obj)
    old = copy.deepcopy(obj)
    kind.prepare_update(obj, old)
    kind.validate(obj, old)
    kind.prepare_status(obj, old)
    assert len(kind.row(obj, NOW)) == len(kind.columns)


@pytest.mark.parametrize("kind", ALL)
def test_defaults_are_filled_once(kind: Kind) -> None:
    once = empty(kind)
    kind.default(once)
    twice = copy.deepcopy(once)
    kind.default(twice)
    assert twice == once


@pytest.mark.parametrize("kind", ALL)
def test_an_update_that_changes_nothing_is_no_new_generation(kind: Kind) -> None:
    old = empty(kind)
    kind.default(old)
    kind.prepare_create(old)
    new = copy.deepcopy(old)
    kind.prepare_update(new, old)
    assert new == old


def test_names_are_unique() -> None:
    counts = Counter(
        (kind.group, kind.version, name)
        for kind in KINDS
        for name in {kind.plural, kind.singular, *kind.short_names} - {""}
    )
    assert [name for name, count in counts.items() if count > 1] == []


def test_columns_start_as_tables_do() -> None:
    assert [kind.kind for kind in KINDS if kind.columns[0].format != "name"] == ["Event", "Event"]
