"""The linear head: against scipy on the plain objective, and what its users rely on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional

from benchgraft.errors import DataError
from benchgraft.training import logistic, scaled_rows
from benchgraft.training.cross_entropy import CrossEntropy
from benchgraft.training.logistic import STRENGTHS, TOLERANCE, Before, fit_head
from benchgraft.training.scaled_rows import Labelled, ScaledRows, scaling_of

EXACT = {"strengths": [0.1], "tolerance": 1e-6}


def blobs(count, dimensions, classes, *, noise=1.0, seed=0, uneven=False):
    """Features of overlapping classes, some features much louder than others, none centred; labels."""
    random = np.random.default_rng(seed)
    shares = np.arange(1, classes + 1) ** 2 if uneven else np.ones(classes)
    labels = random.choice(classes, count, p=shares / shares.sum())
    labels[:classes] = np.arange(classes)
    centres = random.normal(size=(classes, dimensions))
    loudness = np.geomspace(0.1, 3, dimensions)
    features = (centres[labels] + noise * random.normal(size=(count, dimensions))) * loudness + 2
    return Labelled(features.astype(np.float32), labels.astype(np.int64))


def halves(data):
    positions = np.arange(len(data.labels))
    return positions[::2], positions[1::2]


def fitted(data, classes, **options):
    return fit_head(data, *halves(data), classes, **options)


def shares(labels, is_balanced):
    weights = 1 / np.bincount(labels)[labels] if is_balanced else np.ones(len(labels))
    return weights / weights.sum()


def plain_minimum(data, is_balanced, classes, strength):
    """Weights and biases by scipy in float64, as the docstrings promise; units of features."""
    x, share = data.features.astype(np.float64), shares(data.labels, is_balanced)
    train = halves(data)[0]  # by which features are brought to scale
    of_train = shares(data.labels[train], is_balanced)
    mean = of_train @ x[train]
    deviation = np.sqrt(of_train @ (x[train] - mean) ** 2)
    factor = 1 / np.sqrt(deviation * deviation.mean())
    z = torch.from_numpy((x - mean) * factor)
    labels, share = torch.from_numpy(data.labels), torch.from_numpy(share)

    def objective(flat):
        point = torch.tensor(flat).reshape(classes, -1).requires_grad_()
        losses = functional.cross_entropy(z @ point[:, :-1].T + point[:, -1], labels, reduction="none")
        value = share @ losses + strength / 2 * point[:, :-1].square().sum()
        value.backward()
        return value.item(), point.grad.numpy().ravel()

    start = np.zeros(classes * (x.shape[1] + 1))
    options = {"maxiter": 10_000, "maxfun": 10_000, "ftol": 1e-16, "gtol": 1e-9, "maxcor": 50}
    point = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x.reshape(classes, -1)
    weight = point[:, :-1] * factor
    bias = point[:, -1] - weight @ mean
    return weight, bias - bias.mean()


def assert_close(got, wanted, relative=1e-4):
    wanted = torch.as_tensor(wanted)
    assert float((got.double() - wanted).norm()) <= relative * float(wanted.norm())


@pytest.mark.parametrize(
    ("count", "dimensions", "classes"), [(300, 20, 3), (200, 12, 2), (40, 150, 4), (900, 8, 120)]
)
@pytest.mark.parametrize("is_balanced", [False, True])
def test_weights_are_those_of_scipy_on_the_plain_objective(count, dimensions, classes, is_balanced):
    data = blobs(count, dimensions, classes, uneven=True)
    head = fitted(data, classes, is_balanced=is_balanced, **EXACT)
    weight, bias = plain_minimum(data, is_balanced, classes, 0.1)
    assert_close(head.weight, weight)
    assert_close(head.bias, bias)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_gradient_norm_is_as_stated_by_autograd(tolerance):
    data = blobs(400, 30, 5)
    head = fitted(data, 5, strengths=[0.01], tolerance=tolerance)
    x = (torch.from_numpy(data.features) - head.scaling.centre).double() * head.scaling.factor.double()
    point = head.scaling.from_features(head.weight.double(), head.bias.double()).requires_grad_()
    loss = functional.cross_entropy(x @ point[:, :-1].T + point[:, -1], torch.from_numpy(data.labels))
    (loss + 0.01 / 2 * point[:, :-1].square().sum()).backward()
    assert head.gradient_norm <= tolerance
    assert point.grad.norm().item() == pytest.approx(head.gradient_norm, abs=2e-6)


def test_head_fits_a_linear_layer():
    data = blobs(300, 20, 3, noise=0.3)
    head = fitted(data, 3)
    layer = nn.Linear(20, 3)
    layer.load_state_dict({"weight": head.weight, "bias": head.bias})
    predicted = layer(torch.from_numpy(data.features)).argmax(1).numpy()
    assert (predicted == data.labels).mean() > 0.97


def test_units_and_zero_of_features_change_no_answer():
    data = blobs(300, 20, 3)
    moved = Labelled((data.features * 4096 - 8192).astype(np.float32), data.labels)
    head, other = fitted(data, 3, **EXACT), fitted(moved, 3, **EXACT)
    assert_close(other.weight * 4096, head.weight, 1e-3)
    scores = torch.from_numpy(data.features) @ head.weight.T + head.bias
    others = torch.from_numpy(moved.features).double() @ other.weight.T.double() + other.bias
    torch.testing.assert_close(others.float(), scores, atol=1e-2, rtol=0)


def test_one_feature_may_be_ten_thousand_times_as_loud():
    data = blobs(300, 20, 3, noise=0.3)
    data.features[:, 0] *= 1e4
    head = fitted(data, 3)
    assert head.gradient_norm <= TOLERANCE
    predicted = (torch.from_numpy(data.features) @ head.weight.T + head.bias).argmax(1).numpy()
    assert (predicted == data.labels).mean() > 0.95


def test_same_inputs_give_the_same_bits_whatever_the_order_of_photos():
    data = blobs(3000, 40, 4)
    train, validation = halves(data)
    head = fit_head(data, train, validation, 4)
    again = fit_head(data, train[::-1], validation[::-1], 4)
    assert torch.equal(head.weight, again.weight)
    assert torch.equal(head.bias, again.bias)
    assert head.path == again.path


def test_weights_of_classes_equal_repeated_rows():
    few, many = np.repeat([0, 1], [20, 60]), np.repeat([0, 0, 0, 1], [20, 20, 20, 60])
    features = blobs(80, 10, 2).features
    rows = np.concatenate([np.arange(20), np.arange(20), np.arange(80)])
    repeated = Labelled(features[rows], many)
    weighted = Labelled(np.concatenate([features, features]), np.concatenate([few, few]))
    head = fit_head(weighted, np.arange(80), np.arange(80, 160), 2, is_balanced=True, **EXACT)
    twice = Labelled(np.concatenate([repeated.features] * 2), np.concatenate([many, many]))
    other = fit_head(twice, np.arange(120), np.arange(120, 240), 2, **EXACT)
    assert_close(head.weight, other.weight)
    assert_close(head.bias, other.bias)
    assert head.path[0].loss == pytest.approx(other.path[0].loss, abs=1e-5)


def test_path_from_warm_starts_is_that_of_cold_fits():
    data = blobs(400, 60, 4, noise=2)
    strengths = [1.0, 0.1, 0.01, 0.001]
    warm = fitted(data, 4, strengths=strengths, tolerance=1e-6).path
    for tried in warm:
        (cold,) = fitted(data, 4, strengths=[tried.strength], tolerance=1e-6).path
        assert tried.loss == pytest.approx(cold.loss, abs=1e-4)
        assert tried.accuracy == cold.accuracy


def test_strength_is_the_strongest_with_the_least_log_loss_on_validation():
    head = fitted(blobs(300, 60, 4, noise=3), 4)
    losses = [tried.loss for tried in head.path]
    chosen = next(tried for tried in head.path if tried.loss <= min(losses) + 2e-4)
    assert head.strength == chosen.strength
    assert [tried.strength for tried in head.path] == list(STRENGTHS[: len(head.path)])
    assert len(head.path) < len(STRENGTHS)


def test_of_strengths_that_tell_nothing_apart_the_strongest_is_taken():
    data = blobs(100, 10, 2)
    data.features[:] = 7
    head = fitted(data, 2)
    assert head.strength == STRENGTHS[0]
    assert not head.weight.any()


def test_head_is_fitted_again_on_training_and_validation_photos_together():
    data = blobs(400, 20, 3, noise=2)
    train, validation = halves(data)
    head = fit_head(data, train, validation, 3, **EXACT)
    weight, bias = plain_minimum(data, False, 3, 0.1)
    assert_close(head.weight, weight)
    assert_close(head.bias, bias)


def test_photos_of_neither_side_are_not_looked_at():
    data = blobs(300, 20, 3)
    train, validation = np.arange(0, 100), np.arange(100, 200)
    head = fit_head(data, train, validation, 3)
    data.features[200:] = np.nan
    data.labels[200:] = 99
    assert torch.equal(fit_head(data, train, validation, 3).weight, head.weight)


def test_classes_that_can_be_told_apart_end_the_path_at_a_finite_strength():
    head = fitted(blobs(200, 40, 2, noise=0.01), 2)
    assert head.path[-1].strength == STRENGTHS[-1]
    assert head.path[-1].loss < 0.001
    assert torch.isfinite(head.weight).all()
    assert head.gradient_norm <= TOLERANCE


def test_constant_features_weigh_nothing_and_change_nothing():
    data = blobs(300, 20, 3)
    constant = np.broadcast_to(np.float32([0, 0.1, 1e4]), (300, 3))
    wider = Labelled(np.concatenate([data.features, constant], 1), data.labels)
    head, other = fitted(data, 3, **EXACT), fitted(wider, 3, **EXACT)
    assert not other.weight[:, 20:].any()
    assert_close(other.weight[:, :20], head.weight)


def test_repeated_rows_and_columns_do_no_harm():
    data = blobs(60, 30, 3)
    doubled = np.concatenate([data.features, data.features], 1)
    head = fitted(Labelled(np.repeat(doubled, 4, 0), np.repeat(data.labels, 4)), 3)
    assert head.gradient_norm <= TOLERANCE
    torch.testing.assert_close(head.weight[:, :30], head.weight[:, 30:], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("is_balanced", [False, True])
@pytest.mark.parametrize("is_for_training", [False, True])
def test_class_with_one_photo_is_learnt_on_either_side(is_balanced, is_for_training):
    data = blobs(201, 20, 3, noise=0.3)
    data.labels[data.labels == 2] = 1
    data.labels[200] = 2
    data.features[200] = 9
    train, validation = np.arange(0, 200, 2), np.arange(1, 200, 2)
    if is_for_training:
        train = np.append(train, 200)
    else:
        validation = np.append(validation, 200)
    head = fit_head(data, train, validation, 3, is_balanced=is_balanced)
    assert all(np.isfinite(tried.loss) for tried in head.path)
    assert head.gradient_norm <= TOLERANCE
    assert (torch.from_numpy(data.features[200]) @ head.weight.T + head.bias).argmax() == 2


def test_class_without_any_photo_is_never_the_answer():
    data = blobs(200, 20, 3)
    head = fitted(data, 5, **EXACT)
    assert torch.isfinite(head.bias).all()
    assert (torch.from_numpy(data.features) @ head.weight.T + head.bias).argmax(1).max() < 3
    known = fitted(data, 3, **EXACT)
    assert_close(head.weight[:3], known.weight)
    assert_close(head.bias[:3], known.bias)


def test_features_in_a_file_of_float16_give_the_head_of_the_same_numbers_in_memory(tmp_path):
    data = blobs(300, 20, 3)
    np.save(tmp_path / "features.npy", data.features.astype(np.float16))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    head = fitted(Labelled(mapped, data.labels), 3)
    same = fitted(Labelled(np.float32(mapped), data.labels), 3)
    assert torch.equal(head.weight, same.weight)


def test_rows_that_are_read_at_every_pass_give_the_same_bits_as_held_ones(monkeypatch):
    data = blobs(3000, 20, 3)
    held = fitted(data, 3)
    monkeypatch.setattr(scaled_rows, "_HELD_BYTES", 0)
    assert torch.equal(fitted(data, 3).weight, held.weight)


def test_a_feature_that_is_no_number_is_refused():
    data = blobs(100, 10, 2)
    data.features[40, 3] = np.inf
    with pytest.raises(DataError, match="not a finite number"):
        fitted(data, 2)


@pytest.mark.parametrize(
    ("train", "validation", "classes", "strengths", "message"),
    [
        ([], [0, 1], 2, [1.0], "are needed"),
        ([0, 1], [], 2, [1.0], "are needed"),
        ([0, 1], [2], 2, [], "are needed"),
        ([0, 1], [2], 2, [0.1, 1.0], "must fall"),
        ([0, 1], [2], 2, [0.1, 0.0], "must fall"),
        ([0, 1], [2], 1, [1.0], "labels must be from 0 to 0"),
    ],
)
def test_what_cannot_be_fitted_is_said(train, validation, classes, strengths, message):
    data = blobs(10, 4, 2)
    sides = np.array(train, np.int64), np.array(validation, np.int64)
    with pytest.raises(ValueError, match=message):
        fit_head(data, *sides, classes, strengths=strengths)


def test_a_pass_gives_the_same_bits_whatever_the_number_of_threads():
    data = blobs(5000, 20, 3)
    weights = torch.ones(5000, dtype=torch.float64)
    positions = np.arange(5000)
    rows = ScaledRows(data, positions, weights, scaling_of(data, positions, weights))
    point = torch.ones(3, 21, dtype=torch.float64)
    before = torch.get_num_threads()
    passes = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            passes.append(CrossEntropy(rows, 0.1)(point))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(value == passes[0][0] and torch.equal(gradient, passes[0][1]) for value, gradient in passes)


def test_very_many_photos_get_the_head_that_the_whole_path_gives(monkeypatch):
    data = blobs(4000, 20, 3, noise=4.0)
    whole = fitted(data, 3, tolerance=1e-6)
    monkeypatch.setattr(logistic, "_MANY", 500)
    found = fitted(data, 3, tolerance=1e-6)
    assert len(found.path) < len(whole.path)
    assert found.strength == whole.strength
    assert_close(found.weight, whole.weight, 1e-3)


def test_a_head_of_before_spares_the_path_where_photos_are_many(monkeypatch):
    data = blobs(3000, 20, 3)
    first = fitted(data, 3)
    before = Before(first.strength, first.weight, first.bias)
    assert torch.equal(fitted(data, 3, before=before).weight, first.weight)  # of few it says nothing
    monkeypatch.setattr(logistic, "_ENOUGH", 500)
    again = fitted(data, 3, before=before)
    assert [tried.strength for tried in again.path] == [first.strength]
    assert again.iterations < first.iterations
    assert_close(again.weight, first.weight, 1e-2)


@pytest.mark.parametrize("row", [0, 1])
def test_a_feature_that_is_no_number_is_told_on_either_side(row):
    data = blobs(80, 10, 2)
    data.features[row, 3] = np.nan
    with pytest.raises(DataError, match="not a finite number"):
        fitted(data, 2)
