"""timm and PyTorch by hand on ordinary photos: the head alone, batch by batch or on features in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from .timeline import Timeline

NETWORK, BATCH, WORKERS = "tf_efficientnet_lite0", 64, 2
SIDES = ("train", "validation", "test")


def network_of(job: dict[str, Any]) -> nn.Module:
    """The backbone with the weights of all contenders and a new head."""
    classes = len(list((Path(job["photos"]) / "train").iterdir()))
    made: nn.Module = timm.create_model(NETWORK, num_classes=classes)
    state = torch.load(job["weights"], weights_only=True)
    made.load_state_dict({k: v for k, v in state.items() if not k.startswith("classifier")}, strict=False)
    return made.to(memory_format=torch.channels_last)


def freeze(network: nn.Module) -> nn.Linear:
    """All but the head, which is returned."""
    head: nn.Linear = network.get_classifier()
    network.requires_grad_(False)
    head.requires_grad_(True)
    return head


def folder_of(job: dict[str, Any], network: nn.Module, side: str) -> ImageFolder:
    """Photos of a side, by the network's own transform for inference."""
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    return ImageFolder(str(Path(job["photos"]) / side), transform)


def loader_of(job: dict[str, Any], network: nn.Module, side: str) -> DataLoader[Any]:
    """Shuffled where it trains."""
    folder = folder_of(job, network, side)
    return DataLoader(folder, BATCH, shuffle=side == "train", num_workers=WORKERS)


@torch.inference_mode()
def accuracy(network: nn.Module, loader: DataLoader[Any]) -> float:
    """Share of right answers."""
    network.eval()
    right = [(network(x.to(memory_format=torch.channels_last)).argmax(1) == y).float() for x, y in loader]
    return float(torch.cat(right).mean())


def ordinary(job: dict[str, Any]) -> dict[str, Any]:
    """As the job says."""
    return {"features": _features, "epochs": _epochs}[job["way"]](job)


def _epochs(job: dict[str, Any]) -> dict[str, Any]:
    """The backbone frozen and in inference mode, the head by Adam."""
    timeline = Timeline(started=job["started"])
    torch.manual_seed(job["seed"])
    network = network_of(job)
    optimizer = torch.optim.Adam(freeze(network).parameters(), 1e-3)
    train, validation = (loader_of(job, network, side) for side in SIDES[:2])
    network.eval()
    for _ in range(job["epochs"]):
        for x, y in train:
            optimizer.zero_grad()
            functional.cross_entropy(network(x.to(memory_format=torch.channels_last)), y).backward()
            optimizer.step()
        timeline.epoch(accuracy(network, validation))
    return timeline.result(accuracy(network, loader_of(job, network, "test")))


def _features(job: dict[str, Any]) -> dict[str, Any]:
    """Pooled features, once, and scikit-learn's logistic regression on them, as its documentation has it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    timeline = Timeline(started=job["started"])
    network = network_of(job).eval()
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    head.fit(*_pooled(network, loader_of(job, network, "train")))
    timeline.epoch(head.score(*_pooled(network, loader_of(job, network, "validation"))))
    return timeline.result(head.score(*_pooled(network, loader_of(job, network, "test"))))


@torch.inference_mode()
def _pooled(network: nn.Module, loader: DataLoader[Any]) -> tuple[Any, Any]:
    features: list[Tensor] = []
    labels: list[Tensor] = []
    for x, y in loader:
        maps = network.forward_features(x.to(memory_format=torch.channels_last))
        features.append(network.forward_head(maps, pre_logits=True))
        labels.append(y)
    return torch.cat(features).numpy(), torch.cat(labels).numpy()
