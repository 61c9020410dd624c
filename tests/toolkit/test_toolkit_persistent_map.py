"""A persistent map is a dict that nobody else can change, whatever is read in which order."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fairway.toolkit.persistent_map import Difference, PersistentMap, differences, plain

KEYS = st.sampled_from("abcdef")
STEP = st.tuples(st.integers(0, 400), st.dictionaries(KEYS, st.integers(0, 3)), st.sets(KEYS))


@given(st.lists(STEP, max_size=40), st.lists(st.integers(0, 400), max_size=20))
def test_every_version_stays_what_it_was(steps: list[Any], reads: list[int]) -> None:
    made, dicts = [PersistentMap[str, int]()], [{}]
    for number, values, gone in steps:
        parent = number % len(made)
        made.append(made[parent].change(values, gone))
        dicts.append({key: value for key, value in dicts[parent].items() if key not in gone} | values)
    for number in reads:
        one, other = number % len(made), number * 7 % len(made)
        assert made[one] == dicts[one] and dict(made[one].items()) == dicts[one] and len(made[one]) == len(dicts[one])
        assert {key: made[one][key] for key in made[one]} == dicts[one]
        assert (made[one] == made[other]) is (dicts[one] == dicts[other])
        expected = {
            key: Difference(dicts[other].get(key), dicts[one].get(key))
            for key in dicts[one].keys() | dicts[other].keys()
            if dicts[one].get(key) is not dicts[other].get(key)
        }
        assert differences(made[other], made[one]) == expected
        assert differences(dicts[other], made[one]) == expected


def test_a_chain_is_cut_before_an_old_version_holds_everything() -> None:
    first = last = PersistentMap({"a": 0})
    for number in range(1000):
        last = last.change({"a": number, f"k{number}": number})
    assert first == {"a": 0} and last["a"] == 999 and len(last) == 1001


def test_nothing_to_change_is_the_same_map() -> None:
    found = PersistentMap({"a": 1})
    assert found.change({"a": 1}, ("b",)) is found
    assert found.change({"a": 2}).change({}, ("a",)) == {}


def test_it_is_written_as_an_object() -> None:
    assert msgspec.json.encode(PersistentMap({"a": 1}), enc_hook=plain) == b'{"a":1}'
