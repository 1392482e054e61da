"""DiCNet's student has the published size, and a grid that matches its teacher's."""

import functools

import pytest
import torch
from benchmark.methods.dicnet.student import Student
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn


@functools.cache
def meta(*arguments) -> Student:
    with torch.device("meta"):
        return Student(*arguments).eval()


def test_published_size():
    student = meta()
    assert sum(p.numel() for p in student.parameters()) == 34_133_824
    assert len(student.state_dict()) == 241
    assert student.conv_last.weight.shape == (512, 2560, 3, 3) and student.conv_last.bias is None
    assert student.encoder.conv1.padding == (1, 1)
    assert isinstance(list(student.children())[-1], nn.Conv2d)  # nothing follows the convolution


@settings(max_examples=15)
@given(st.integers(1, 120), st.integers(1, 170), st.sampled_from(["resnet34", "small"]))
def test_grid_of_any_side_8k(rows, columns, encoder):
    features = meta(24, encoder)(torch.zeros(1, 3, 8 * rows, 8 * columns, device="meta"))
    assert features.shape == (1, 24, rows, columns)


@pytest.mark.parametrize("encoder", ["resnet18", "small"])
def test_every_parameter_learns(encoder):
    student = Student(16, encoder)
    student(torch.randn(2, 3, 32, 40)).square().mean().backward()
    assert all(p.grad is not None for p in student.parameters())
