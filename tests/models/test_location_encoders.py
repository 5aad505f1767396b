# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.special import sph_harm_y
from torch import Tensor, nn
from torchgeo.models import SatCLIP, SatCLIP_Weights, satclip

from torchgeo_experts.configurable import from_config
from torchgeo_experts.models.location import (
    ConstantEncoder,
    FourierEncoder,
    GeoCLIPEncoder,
    HarmonicsEncoder,
    LocationEncoder,
    PretrainedEncoder,
    SatCLIPEncoder,
    WrapEncoder,
)
from torchgeo_experts.models.location.geoclip import PACKAGED, equal_earth

LON = torch.tensor([2.35, -122.42, 151.21, -43.2, 0.0, 179.5])
LAT = torch.tensor([48.86, 37.77, -33.87, -22.9, 0.0, 71.0])

MAKERS: dict[str, Callable[[], LocationEncoder]] = {
    'wrap': WrapEncoder,
    'harmonics': HarmonicsEncoder,
    'harmonics-fcnet': lambda: HarmonicsEncoder(6, 'fcnet', width=32),
    'harmonics-linear': lambda: HarmonicsEncoder(6, 'linear', width=32),
    'fourier': FourierEncoder,
    'satclip': lambda: SatCLIPEncoder(None, legendre_polys=6),
    'satclip-learned': lambda: SatCLIPEncoder(None, legendre_polys=6, frozen=False),
    'geoclip': lambda: GeoCLIPEncoder(weights=False),
}
ON_THE_SPHERE = ('fourier', 'harmonics', 'harmonics-linear', 'satclip')


@pytest.fixture(scope='module')
def encoders() -> dict[str, LocationEncoder]:
    """One of each kind, in evaluation mode, not to be changed."""
    torch.manual_seed(0)
    return {name: make().eval() for name, make in MAKERS.items()}


@pytest.fixture(params=MAKERS)
def encoder(
    request: pytest.FixtureRequest, encoders: dict[str, LocationEncoder]
) -> LocationEncoder:
    return encoders[request.param]


class TestAllEncoders:
    def test_one_row_of_features_a_place(self, encoder: LocationEncoder) -> None:
        features = encoder(LON, LAT)
        assert features.shape == (6, encoder.out_features)
        assert features.dtype == torch.float32
        # A place has its features whatever stands next to it.
        alone = torch.cat([encoder(LON[i : i + 1], LAT[i : i + 1]) for i in range(6)])
        torch.testing.assert_close(features, alone, rtol=1e-4, atol=1e-5)
        distances = torch.cdist(features, features) + torch.eye(6)
        assert distances.min() > 1e-3 * features.std()

    def test_no_place_gives_no_row(self, encoder: LocationEncoder) -> None:
        assert encoder(LON[:0], LAT[:0]).shape == (0, encoder.out_features)

    def test_longitude_comes_first(self, encoder: LocationEncoder) -> None:
        lon, lat = torch.tensor([10.0]), torch.tensor([50.0])
        difference = encoder(lon, lat) - encoder(lat, lon)
        assert difference.abs().max() > 0.01 * encoder(lon, lat).std()
        # As first argument a longitude may exceed 90 degrees.
        encoder(torch.tensor([170.0]), lat)
        with pytest.raises(ValueError, match=r'are lon and lat swapped\?'):
            encoder(lat, torch.tensor([170.0]))

    def test_promise_about_the_dateline(self, encoder: LocationEncoder) -> None:
        lat = torch.tensor([-60.0, 0.0, 33.0, 71.0])
        scale = encoder(torch.tensor([-90.0, 0, 45, 100]), lat).std()
        east = torch.full((4,), 180.0)
        exact = (encoder(east, lat) - encoder(-east, lat)).abs().max() / scale
        near = (encoder(east - 1e-3, lat) - encoder(1e-3 - east, lat)).abs().max()
        if encoder.periodic:
            assert exact < 1e-4 and near / scale < 1e-2
        else:
            assert exact > 0.1

    @pytest.mark.parametrize('name', ON_THE_SPHERE)
    def test_a_pole_is_one_place(
        self, name: str, encoders: dict[str, LocationEncoder]
    ) -> None:
        encoder = encoders[name]
        lon = torch.tensor([0.0, 77.0, -120.0, 180.0])
        for pole in (-90.0, 90.0):
            features = encoder(lon, torch.full((4,), pole))
            # TorchGeo's harmonics end 6 km from the pole.
            assert (features - features[0]).abs().max() < 0.05 * features.std()
            beside = encoder(lon, torch.full((4,), pole * 0.9))
            assert (beside - beside[0]).abs().max() > 0.2 * features.std()

    def test_double_precision_of_degrees_is_accepted(
        self, encoder: LocationEncoder
    ) -> None:
        features = encoder(LON.double(), LAT.double())
        assert features.dtype == torch.float32
        torch.testing.assert_close(features, encoder(LON, LAT))

    def test_autocast_changes_nothing(self, encoder: LocationEncoder) -> None:
        with torch.autocast('cpu', torch.bfloat16):
            features = encoder(LON, LAT)
        assert features.dtype == torch.float32
        assert torch.equal(features, encoder(LON, LAT))

    def test_recipe_makes_it_again(self, encoder: LocationEncoder) -> None:
        buffer = io.BytesIO()
        torch.save(encoder.to_config(), buffer)
        buffer.seek(0)
        again = from_config(torch.load(buffer, weights_only=True), LocationEncoder)
        assert type(again) is type(encoder) and again.to_config() == encoder.to_config()
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again.eval()(LON, LAT), encoder(LON, LAT))

    @pytest.mark.parametrize(
        ('lon', 'lat', 'message'),
        [
            (-180.5, 0, r'sample 1: lon=-180.5, lat=0 .*\[-180, 180\]'),
            (200, 0, r'sample 1: lon=200, lat=0 .*\[-180, 180\]'),
            (0, 90.5, r'sample 1: lon=0, lat=90.5 .*swapped'),
            (0, -91, r'sample 1: lon=0, lat=-91 .*swapped'),
            (torch.nan, 0, r'sample 1: lon=nan'),
            (0, torch.inf, r'sample 1: lon=0, lat=inf'),
        ],
    )
    def test_degrees_outside_of_the_globe(
        self, lon: float, lat: float, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            WrapEncoder()(torch.tensor([3.0, lon, 999]), torch.tensor([3.0, lat, 999]))

    @pytest.mark.parametrize('shapes', [((2,), (3,)), ((2, 1), (2, 1)), ((), ())])
    def test_shapes(self, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        with pytest.raises(ValueError, match=r'one shape \(B,\), found'):
            WrapEncoder()(torch.zeros(shapes[0]), torch.zeros(shapes[1]))

    def test_half_precision_of_degrees_or_weights(self) -> None:
        with pytest.raises(TypeError, match=r'lat .*bfloat16.*bf16-mixed'):
            WrapEncoder()(LON, LAT.bfloat16())
        with pytest.raises(TypeError, match=r'weights .*float16'):
            WrapEncoder().half()(LON, LAT)

    def test_double_precision_of_weights(self) -> None:
        encoder = FourierEncoder().double().eval()
        assert encoder(LON, LAT).dtype == torch.float64

    def test_compiles_as_a_whole(self) -> None:
        encoder = WrapEncoder(8, 1).eval()
        compiled = torch.compile(encoder, backend='eager', fullgraph=True)
        torch.testing.assert_close(compiled(LON, LAT), encoder(LON, LAT))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
    def test_gpu_never_waits(self, encoder: LocationEncoder) -> None:
        moved = from_config(encoder.to_config(), LocationEncoder)
        moved.load_state_dict(encoder.state_dict())
        moved.eval().cuda()
        lon, lat = LON.cuda(), LAT.cuda()
        moved(lon, lat)
        torch.cuda.set_sync_debug_mode('error')
        try:
            found = moved(lon, lat)
        finally:
            torch.cuda.set_sync_debug_mode('default')
        expected = encoder(LON, LAT)
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


class TestWrapEncoder:
    def test_number_of_parameters(self) -> None:
        assert sum(p.numel() for p in WrapEncoder().parameters()) == 527_616

    def test_values(self) -> None:
        encoder = WrapEncoder(width=8, num_layers=2).eval()
        state = {k: v.numpy().astype(float) for k, v in encoder.state_dict().items()}
        weights = list(state.values())

        def layer(x: NDArray[np.float64], index: int) -> NDArray[np.float64]:
            return np.maximum(x @ weights[2 * index].T + weights[2 * index + 1], 0)

        lon, lat = np.radians(LON.double().numpy()), np.radians(LAT.double().numpy())
        x = np.stack([np.sin(lon), np.sin(lat), np.cos(lon), np.cos(lat)], 1)
        x = layer(x, 0)
        x = x + layer(layer(x, 1), 2)
        x = x + layer(layer(x, 3), 4)
        found = encoder(LON, LAT).detach().numpy()
        np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-5)

    def test_poles_differ_from_each_other(self) -> None:
        encoder = WrapEncoder()
        zero, pole = torch.zeros(1), torch.tensor([90.0])
        found = encoder.positions(zero, pole) - encoder.positions(zero, -pole)
        np.testing.assert_allclose(found.numpy(), [[0, 2, 0, 0]], atol=1e-6)

    def test_dropout_in_training_only(self) -> None:
        encoder = WrapEncoder()
        assert not torch.equal(encoder(LON, LAT), encoder(LON, LAT))
        encoder = WrapEncoder(dropout=0)
        assert torch.equal(encoder(LON, LAT), encoder(LON, LAT))

    def test_all_weights_learn(self) -> None:
        encoder = WrapEncoder()
        encoder(LON, LAT).square().sum().backward()
        for parameter in encoder.parameters():
            assert parameter.grad is not None and parameter.grad.any()

    @pytest.mark.parametrize('width', [0, -3])
    def test_width(self, width: int) -> None:
        with pytest.raises(ValueError, match='width must be positive'):
            WrapEncoder(width)


class TestHarmonicsEncoder:
    def test_harmonics_are_scipys(self) -> None:
        encoder = HarmonicsEncoder(7, 'linear')
        # Longitude is counted from the dateline, colatitude from the south pole.
        azimuth = np.radians(LON.double().numpy() + 180)
        polar = np.radians(LAT.double().numpy() + 90)
        expected = []
        for degree in range(7):
            for order in range(-degree, degree + 1):
                value = sph_harm_y(degree, abs(order), polar, azimuth)
                # Without the Condon-Shortley phase.
                value = value * np.sqrt(2) * (-1.0) ** order
                if order == 0:
                    value = value * np.pi / np.sqrt(2)
                expected.append(value.imag if order < 0 else value.real)
        found = encoder.positions(torch.stack([LON, LAT], 1)).numpy()
        np.testing.assert_allclose(found, np.stack(expected, 1), atol=2e-5)

    def test_linear_is_one_layer_of_them(self) -> None:
        encoder = HarmonicsEncoder(4, 'linear', width=5)
        harmonics = encoder.positions(torch.stack([LON, LAT], 1))
        (weight, bias) = encoder.layers.parameters()
        assert weight.shape == (5, 16)
        torch.testing.assert_close(encoder(LON, LAT), harmonics @ weight.T + bias)

    @pytest.mark.parametrize('net', ['siren', 'fcnet'])
    def test_dropout_can_be_turned_off(self, net: str) -> None:
        for dropout in (True, False):
            encoder = HarmonicsEncoder(4, net, dropout=dropout)  # type: ignore[arg-type]
            same = torch.equal(encoder(LON, LAT), encoder(LON, LAT))
            assert same is not dropout

    def test_unknown_net(self) -> None:
        with pytest.raises(ValueError, match=r"siren, fcnet, linear, found 'mlp'"):
            HarmonicsEncoder(net='mlp')  # type: ignore[arg-type]


class TestFourierEncoder:
    def test_positions(self) -> None:
        encoder = FourierEncoder(sigma=3.0, num_frequencies=5)
        lon, lat = np.radians(LON.double().numpy()), np.radians(LAT.double().numpy())
        point = np.stack(
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
        )
        angles = 2 * np.pi * (encoder.frequencies.double().numpy().T @ point).T
        expected = np.concatenate([np.cos(angles), np.sin(angles)], 1)
        found = encoder.positions(LON, LAT).numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5)

    def test_sigma_is_how_fast_likeness_falls(self) -> None:
        torch.manual_seed(0)
        sigma = 4.0
        encoder = FourierEncoder(sigma, num_frequencies=20_000, width=1, num_layers=0)
        # By a factor of e over 1,400 km / sigma: the mean over Gaussian frequencies.
        far = np.degrees(1 / (np.pi * np.sqrt(2) * sigma))
        assert 6371 * np.radians(far) * sigma == pytest.approx(1434, abs=1)
        for lon, lat in ([0, far], [0, 0]), ([5, 5], [10 - far, 10]):
            degrees = torch.tensor([lon, lat], dtype=torch.float32)
            a, b = encoder.positions(*degrees)
            assert (a @ b / 20_000).item() == pytest.approx(np.exp(-1), abs=0.02)

    def test_frequencies_are_kept_and_not_learned(self) -> None:
        encoder = FourierEncoder()
        assert 'frequencies' in encoder.state_dict()
        assert 'frequencies' not in dict(encoder.named_parameters())

    def test_sigma_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match='sigma must be positive'):
            FourierEncoder(sigma=0)


class TestPretrainedEncoders:
    @pytest.fixture(params=['satclip', 'geoclip'])
    def frozen(self, request: pytest.FixtureRequest) -> PretrainedEncoder:
        encoder = MAKERS[request.param]()
        assert isinstance(encoder, PretrainedEncoder)
        return encoder

    def test_frozen_stays_in_evaluation_mode(self, frozen: PretrainedEncoder) -> None:
        before = frozen.eval()(LON, LAT)
        whole = nn.Sequential(frozen, nn.Dropout())
        whole.train()
        assert whole.training and not any(m.training for m in frozen.modules())
        assert torch.equal(frozen(LON, LAT), before)

    def test_frozen_weights_get_no_gradient_and_stay(
        self, frozen: PretrainedEncoder
    ) -> None:
        before = {k: v.clone() for k, v in frozen.state_dict().items()}
        head = nn.Linear(frozen.out_features, 1)
        parameters = [*frozen.parameters(), *head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.5)
        assert not any(p.requires_grad for p in frozen.parameters())
        head(frozen(LON, LAT)).sum().backward()
        optimizer.step()
        assert head.weight.grad is not None
        assert all(p.grad is None for p in frozen.parameters())
        assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())

    def test_frozen_even_if_another_part_lets_it_require_gradients(
        self, frozen: PretrainedEncoder
    ) -> None:
        frozen.requires_grad_(True)
        assert not frozen(LON, LAT).requires_grad

    def test_unfrozen_learns_with_dropout(self) -> None:
        encoder = SatCLIPEncoder(None, legendre_polys=4, frozen=False)
        assert encoder.training
        assert not torch.equal(encoder(LON, LAT), encoder(LON, LAT))
        encoder(LON, LAT).sum().backward()
        assert all(p.grad is not None for p in encoder.parameters())


def satclip_file(path: Path, legendre_polys: int) -> SatCLIP:
    """Write a checkpoint as SatCLIP's authors do, and give what it was written from."""
    body = satclip(None, legendre_polys).eval()
    own = {f'model.location.{k}': v.double() for k, v in body.state_dict().items()}
    state = {'model.visual.conv1.weight': torch.zeros(3)} | own
    settings = {'legendre_polys': legendre_polys, 'embed_dim': 256}
    torch.save({'state_dict': state, 'hyper_parameters': settings}, path)
    return body


class TestSatCLIPEncoder:
    def test_satclips_own_checkpoint(self, tmp_path: Path) -> None:
        path = tmp_path / 'satclip-resnet18-l5.ckpt'
        body = satclip_file(path, 5)
        encoder = SatCLIPEncoder(str(path))
        assert encoder.legendre_polys == 5
        torch.testing.assert_close(
            encoder(LON, LAT), body(torch.stack([LON, LAT], 1)).detach()
        )

    def test_weights_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        body = satclip().eval()
        state = {f'model.location.{k}': v for k, v in body.state_dict().items()}
        monkeypatch.setattr(
            SatCLIP_Weights, 'get_state_dict', lambda *_, **__: {'state_dict': state}
        )
        expected = body(torch.stack([LON, LAT], 1)).detach()
        for weights in (
            SatCLIP_Weights.SATCLIP_VIT16_L40,
            str(SatCLIP_Weights.SATCLIP_VIT16_L40),
        ):
            torch.testing.assert_close(SatCLIPEncoder(weights)(LON, LAT), expected)

    def test_checkpoint_is_loaded_without_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / 'satclip.ckpt'
        satclip_file(path, 5)
        encoder = SatCLIPEncoder(str(path))
        config, state = encoder.to_config(), encoder.state_dict()
        path.unlink()
        again = nn.ModuleDict({'phi': from_config(config, LocationEncoder)})
        with pytest.raises(RuntimeError, match='no checkpoint with its weights'):
            again['phi'](LON, LAT)
        again.load_state_dict({'other': torch.zeros(1)}, strict=False)
        with pytest.raises(RuntimeError, match='no checkpoint with its weights'):
            again['phi'](LON, LAT)
        again.load_state_dict({f'phi.{k}': v for k, v in state.items()})
        assert torch.equal(again['phi'](LON, LAT), encoder(LON, LAT))
        assert again['phi'].to_config() == config

    def test_neither_file_nor_name(self) -> None:
        with pytest.raises(ValueError, match=r"'nothing.ckpt' is neither .*_VIT16_L40"):
            SatCLIPEncoder('nothing.ckpt')

    def test_damaged_file(self, tmp_path: Path) -> None:
        path = tmp_path / 'satclip.ckpt'
        satclip_file(path, 3)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ValueError, match=r'satclip\.ckpt cannot be read'):
            SatCLIPEncoder(str(path))
        path.write_bytes(b'')
        with pytest.raises(ValueError, match=r'satclip\.ckpt cannot be read'):
            SatCLIPEncoder(str(path))

    @pytest.mark.parametrize(
        'content', [{'state_dict': {'conv1.weight': torch.zeros(3)}}, torch.zeros(3)]
    )
    def test_file_of_something_else(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / 'other.ckpt')
        with pytest.raises(
            ValueError, match=r'other\.ckpt holds no weights of SatCLIP'
        ):
            SatCLIPEncoder(str(tmp_path / 'other.ckpt'))

    def test_file_of_another_size(self, tmp_path: Path) -> None:
        torch.save(satclip(None, 3, capacity=16).state_dict(), tmp_path / 'small.ckpt')
        with pytest.raises(ValueError, match=r'small\.ckpt holds other weights'):
            SatCLIPEncoder(str(tmp_path / 'small.ckpt'))


def geoclip_weights() -> dict[str, Tensor]:
    """Weights under the names that GeoCLIP gives them."""
    shapes = {1: (1024, 512), 3: (1024, 1024), 5: (1024, 1024)}
    state = {}
    for i, sigma in enumerate((1, 16, 256)):
        state[f'LocEnc{i}.capsule.0.b'] = sigma * torch.randn(256, 2)
        for j, shape in shapes.items():
            state[f'LocEnc{i}.capsule.{j}.weight'] = torch.randn(shape) / 32
            state[f'LocEnc{i}.capsule.{j}.bias'] = torch.randn(1024) / 32
        state[f'LocEnc{i}.head.0.weight'] = torch.randn(512, 1024) / 32
        state[f'LocEnc{i}.head.0.bias'] = torch.randn(512) / 32
    return state


def geoclip_features(state: dict[str, Tensor]) -> NDArray[np.float64]:
    """Features of the test's places by GeoCLIP's names, in double precision."""
    values = {k: v.double().numpy() for k, v in state.items()}
    project = Transformer.from_crs('+proj=longlat +R=1', '+proj=eqearth +R=1')
    east, north = project.transform(LON.double().numpy(), LAT.double().numpy())
    point = np.stack([east, north], 1) * 66.50336 / 180
    total = np.zeros((len(LON), 512))
    for i in range(3):
        angles = 2 * np.pi * point @ values[f'LocEnc{i}.capsule.0.b'].T
        x = np.concatenate([np.cos(angles), np.sin(angles)], 1)
        for j in (1, 3, 5):
            name = f'LocEnc{i}.capsule.{j}'
            x = np.maximum(x @ values[f'{name}.weight'].T + values[f'{name}.bias'], 0)
        total += x @ values[f'LocEnc{i}.head.0.weight'].T
        total += values[f'LocEnc{i}.head.0.bias']
    return total


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package of that name, which must not be imported."""
    file = tmp_path.joinpath('geoclip', *PACKAGED)
    file.parent.mkdir(parents=True)
    init = tmp_path / 'geoclip' / '__init__.py'
    init.write_text('raise AssertionError("imported")')
    monkeypatch.delitem(sys.modules, 'geoclip', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return file


class TestGeoCLIPEncoder:
    def test_weights_of_the_package(self, package: Path) -> None:
        torch.manual_seed(0)
        state = geoclip_weights()
        torch.save(state, package)
        encoder = GeoCLIPEncoder()
        expected = geoclip_features(state)
        # At 256 cycles, single precision knows the phase to about 1e-3.
        difference = encoder(LON, LAT).numpy() - expected
        assert np.abs(difference).max() < 2e-3 * expected.std()
        found = sum(v.numel() for v in encoder.state_dict().values())
        assert found == 9_449_472 and 'geoclip' not in sys.modules

        copy = package.with_name('copy.pth')
        package.rename(copy)
        assert torch.equal(GeoCLIPEncoder(str(copy))(LON, LAT), encoder(LON, LAT))
        again = from_config(encoder.to_config(), LocationEncoder)
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again(LON, LAT), encoder(LON, LAT))

    def test_map_is_equal_earth(self) -> None:
        lon = torch.tensor([180.0, -180, 0, 0, -75.5, 12])
        lat = torch.tensor([0.0, 0, 90, -90, 41.25, -3])
        project = Transformer.from_crs('+proj=longlat +R=1', '+proj=eqearth +R=1')
        expected = project.transform(lon.double().numpy(), lat.double().numpy())
        found = equal_earth(lon, lat).numpy()
        assert found[:2, 0] == pytest.approx([1, -1], abs=1e-5)
        np.testing.assert_allclose(
            found, np.stack(expected, 1) * 66.50336 / 180, atol=1e-6
        )

    def test_frequencies_are_never_learned(self) -> None:
        encoder = GeoCLIPEncoder(weights=False, frozen=False)
        encoder(LON, LAT).sum().backward()
        assert all(p.grad is not None for p in encoder.parameters())
        assert not any(name.endswith('.b') for name, _ in encoder.named_parameters())
        spread = [
            v.std().item() for k, v in encoder.state_dict().items() if k[-2:] == '.b'
        ]
        assert spread == pytest.approx([1, 16, 256], rel=0.15)

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
        with pytest.raises(ModuleNotFoundError, match=r'pip install .*geoclip.*False'):
            GeoCLIPEncoder()
        GeoCLIPEncoder(weights=False)

    def test_missing_file(self, package: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r'location_encoder_weights\.pth'):
            GeoCLIPEncoder()

    def test_file_of_something_else(self, package: Path) -> None:
        torch.save({'weight': torch.zeros(3)}, package)
        with pytest.raises(ValueError, match=r'weights\.pth holds other weights'):
            GeoCLIPEncoder()

    @pytest.mark.skipif(
        importlib.util.find_spec('geoclip') is None, reason='needs geoclip'
    )
    def test_values_of_geoclip_itself(self) -> None:
        # What geoclip 1.3.0's own LocationEncoder gives for these places.
        expected = [
            [-0.01383, 0.00916, -0.00696, 0.00750],
            [0.00074, 0.01816, 0.00645, -0.00584],
            [-0.01748, 0.01401, 0.00792, -0.01444],
        ]
        found = GeoCLIPEncoder()(LON[:3], LAT[:3])[:, :4]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def test_constant_encoder_knows_every_place() -> None:
    nowhere = torch.tensor([torch.nan, 5.0])
    embedding, known = ConstantEncoder().locate(nowhere, nowhere)
    assert embedding.tolist() == [[1], [1]] and known.all()
    assert ConstantEncoder()(torch.zeros(2), torch.zeros(2)).tolist() == [[1], [1]]
