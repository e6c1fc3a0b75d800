"""The small convolutional network that stands beside the vision transformer."""

import pytest
import torch

from omni.model.cnn import Cnn, CnnSpec


def test_a_cnn_sees_pictures_of_any_size_each_for_itself() -> None:
    torch.manual_seed(0)
    model = Cnn(CnnSpec(width=16, depths=(1, 1), channels=1, classes=4))
    images = torch.randn(3, 1, 20, 28)
    logits = model(images)
    assert logits.shape == (3, 4)
    torch.testing.assert_close(model(images[1:2])[0], logits[1], atol=1e-5, rtol=1e-5)
    assert model(torch.randn(1, 1, 33, 9)).shape == (1, 4)


def test_what_a_cnn_sees_hardly_depends_on_where_it_lies() -> None:
    torch.manual_seed(0)
    model = Cnn(CnnSpec(width=16, depths=(1, 1), channels=1, classes=4)).eval()
    here, there = torch.zeros(1, 1, 48, 48), torch.zeros(1, 1, 48, 48)
    thing = torch.rand(6, 6)
    here[..., 12:18, 12:18] = thing
    there[..., 24:30, 28:34] = thing
    torch.testing.assert_close(model(here), model(there), atol=1e-5, rtol=1e-4)


def test_a_width_that_cannot_be_grouped_is_named() -> None:
    with pytest.raises(ValueError, match="12 is not a multiple of 8"):
        Cnn(CnnSpec(width=12))
