"""Device choice, precision, random numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.SEAN import SEANet
from utils.device import (
    choose_device,
    choose_precision,
    random_state,
    restore_random_state,
    with_precision,
)
from utils.errors import UserError
from utils.files import load_tensors, save_tensors


def test_a_missing_device_is_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no cuda device"):
            choose_device("cuda")


@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_bf16_only_where_it_is_native(
    native: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    for device in (cpu, cuda):
        assert choose_precision("auto", device) == ("bf16" if native else "fp32")
        assert choose_precision("fp32", device) == "fp32"
    assert not capsys.readouterr().err
    assert choose_precision("bf16", cpu) == "bf16"
    assert ("no bfloat16 instructions" in capsys.readouterr().err) is not native


def test_this_processor_is_recognized() -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "flags" not in flags:
        pytest.skip("this system does not list its processor's instructions")
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    assert choose_precision("auto", torch.device("cpu")) == ("bf16" if native else "fp32")


def test_bf16_runs_the_network_in_bfloat16_with_float32_weights() -> None:
    torch.manual_seed(0)
    network = SEANet(3, width=1 / 64).eval()
    images = 40 * torch.randn(1, 3, 16, 32)
    assert with_precision(network, "fp32") is network
    rounded = with_precision(network, "bf16")
    assert not rounded.training
    with torch.no_grad():
        exact, ours = network(images), rounded(images)
    assert ours.logits.dtype == torch.bfloat16
    assert (ours.logits - exact.logits).abs().max() < 0.02 * exact.logits.abs().max()
    assert all(p.dtype == torch.float32 for p in rounded.parameters())


def test_gradients_reach_the_wrapped_network() -> None:
    network = SEANet(3, width=1 / 64)
    with_precision(network, "bf16")(torch.randn(1, 3, 16, 32)).logits.float().sum().backward()
    assert network.features[0].weight.grad.dtype == torch.float32


def draw() -> list[float]:
    """An odd number of draws, so that generators of pairs keep the second for later."""
    return [*torch.rand(2).tolist(), torch.randn(()).item()]


def test_generators_continue_where_they_were_saved(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    torch.manual_seed(0)
    draw()
    save_tensors(tmp_path / "last.pth", random_state(cpu))
    expected = [draw(), draw()]
    torch.manual_seed(1)
    assert draw() != expected[0]
    restore_random_state(load_tensors(tmp_path / "last.pth", 10**6), cpu)
    assert [draw(), draw()] == expected
