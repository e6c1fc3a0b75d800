"""Names of weights: theirs to ours, parts that are joined, and what is said when something does not fit."""

import pytest
import torch
from torch import nn

from omni.model.weights import ZERO, fill, join, plan

QKV = [("l.{i}.q", "b.{i}.qkv@q"), ("l.{i}.k", "b.{i}.qkv@k"), ("l.{i}.v", "b.{i}.qkv@v")]


def test_parts_are_joined_in_our_order_whatever_theirs_is() -> None:
    how = plan(QKV, ["l.0.v", "l.0.q", "l.0.k"], ["b.0.qkv"])
    assert how.sources == {"b.0.qkv": ["l.0.q", "l.0.k", "l.0.v"]}
    assert (how.missing, how.unexpected) == ([], [])


def test_a_lacking_part_is_missing_by_its_name_and_its_siblings_are_left_over() -> None:
    how = plan(QKV, ["l.0.q", "l.0.v"], ["b.0.qkv"])
    assert how.missing == ["b.0.qkv@k"]
    assert how.unexpected == ["l.0.q", "l.0.v"]


def test_a_part_that_they_leave_out_because_it_is_zero_is_zero() -> None:
    names = [("l.{i}.q", "b.{i}.qkv@q"), (ZERO, "b.{i}.qkv@k"), ("l.{i}.v", "b.{i}.qkv@v")]
    how = plan(names, ["l.3.q", "l.3.v"], ["b.3.qkv"])
    assert how.sources == {"b.3.qkv": ["l.3.q", ZERO, "l.3.v"]}
    joined = join([torch.ones(2), None, torch.full((2,), 2.0)], torch.Size([6]))
    assert joined.tolist() == [1, 1, 0, 0, 2, 2]


def test_numbers_of_layers_do_not_run_into_each_other() -> None:
    theirs = [f"a.{i}.{j}.w" for i in range(12) for j in range(2)]
    how = plan([("a.{i}.{j}.w", "x.{j}.y.{i}")], theirs, [f"x.{j}.y.{i}" for i in range(12) for j in range(2)])
    assert how.sources["x.1.y.11"] == ["a.11.1.w"]
    assert len(how.sources) == 24


def test_a_dot_in_a_name_is_a_dot() -> None:
    assert plan([("a.b", "c")], ["axb"], ["c"]).missing == ["c"]


def test_what_nobody_takes_is_said_unless_it_is_no_weight() -> None:
    how = plan([("a", "b")], ["a", "extra", "x.position_ids"], ["b"], ignore=[r"position_ids$"])
    assert how.unexpected == ["extra"]


def test_a_wrong_shape_is_said_with_both_shapes() -> None:
    model = nn.Linear(3, 2, bias=False)
    how = plan([("theirs", "weight")], ["theirs"], ["weight"])
    with pytest.raises(ValueError, match=r"theirs has shape \(5, 3\) and weight needs \(2, 3\)"):
        fill(model, how, lambda _: torch.zeros(5, 3), torch.float32, "cpu")


def test_a_patch_convolution_becomes_our_linear_layer() -> None:
    model = nn.Linear(12, 2, bias=False)
    convolution = torch.arange(24.0).view(2, 3, 2, 2)
    fill(model, plan([("c", "weight")], ["c"], ["weight"]), lambda _: convolution, torch.float32, "cpu")
    assert torch.equal(model.weight, convolution.flatten(1))


def test_whole_numbers_keep_their_type_and_others_get_the_one_asked_for() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.zeros(2))
            self.register_buffer("n", torch.zeros(1, dtype=torch.long))

    model = Two()
    given = {"a": torch.ones(2), "n": torch.tensor([7])}
    fill(model, plan([], [], []), given.__getitem__, torch.float32, "cpu")
    fill(model, plan([("a", "a"), ("n", "n")], given, ["a", "n"]), given.__getitem__, torch.bfloat16, "cpu")
    assert (model.a.dtype, model.n.dtype, int(model.n)) == (torch.bfloat16, torch.long, 7)
