"""Seeds depend on their parts and on nothing else; global generators are left as they were."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import derive_seed, generator, seeded

PARTS = st.lists(st.text(max_size=5) | st.integers(-(2**40), 2**40), max_size=4)


def test_a_seed_is_the_first_63_bits_of_a_sha256():
    by_hand = int(hashlib.sha256(b'["cell",0,"class",7]').hexdigest()[:16], 16) // 2
    assert derive_seed("cell", 0, "class", 7) == by_hand


@given(PARTS, PARTS)
def test_seeds_tell_all_parts_apart(one, two):
    assert (derive_seed(*one) == derive_seed(*two)) == (one == two)
    assert 0 <= derive_seed(*one) < 2**63


@pytest.mark.parametrize(("one", "two"), [((1, "2"), ("1", 2)), (("ab", "c"), ("a", "bc")), ((1,), ("1",))])
def test_types_and_boundaries_count(one, two):
    assert derive_seed(*one) != derive_seed(*two)


def test_generators_repeat_and_differ():
    draws = [torch.rand(4, generator=generator(*parts)).tolist() for parts in (("a", 1), ("a", 1), ("a", 2))]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("fails", [False, True])
def test_seeded_restores_the_global_generator(fails):
    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    inside = []
    for _ in range(2):
        try:
            with seeded("purpose", 1):
                inside.append(torch.rand(3).tolist())
                if fails:
                    raise ValueError
        except ValueError:
            pass
    assert torch.rand(3).tolist() == expected
    assert inside[0] == inside[1] != expected
