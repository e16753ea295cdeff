"""The way to train is chosen in one place, by the first rule that applies."""

from __future__ import annotations

import pytest

from tuner.train.way import Case, Way, choose


@pytest.mark.parametrize(
    ("case", "way", "reason"),
    [
        (Case(is_built_in=True), Way.STACKED, None),
        (Case(), Way.TOGETHER, None),
        (Case(differs="its buffers differ"), Way.PLAIN, "its buffers differ"),
        (Case(begun_as_written=True, differs="its buffers differ"), Way.PLAIN, "it was begun as written"),
        (Case(fuse="off", is_built_in=True), Way.PLAIN, None),
        (Case(users_part="training.loss is yours", fuse="off"), Way.PLAIN, "training.loss is yours"),
        (Case(is_lightning=True, fuse="off"), Way.LIGHTNING, "it is a LightningModule, which"),
    ],
)
def test_the_first_rule_that_applies_says_how_and_why(case: Case, way: Way, reason: str | None) -> None:
    found = choose(case)
    assert found.way is way
    assert (found.reason is None) if reason is None else str(found.reason).startswith(reason)


def test_what_refuses_to_be_fused_is_said_where_it_must_be() -> None:
    assert str(choose(Case(users_part="its loss is yours")).refusal) == "trials cannot be fused: its loss is yours"


def test_the_values_that_studies_keep_stay() -> None:
    """A study of an earlier version has them in its trials' facts."""
    assert {way: way.is_fused for way in Way} == {
        "stacked": True, "vmap": True, "plain": False, "lightning": False, "command": False, "trainer": False,
    }  # fmt: skip
