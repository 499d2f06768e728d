"""tests.pretend: what a GPU refuses is refused, what waits for it is counted."""

import copy

import pytest
import torch

from tests.pretend import Pretend, pretending


def on_gpu(n=3):
    return torch.arange(n, dtype=torch.float32).to("cuda", non_blocking=True)


def test_tensors_on_it_compute_there(gpu):
    x, y = on_gpu(), torch.full((3,), 2.0, device="cuda")
    assert x.device == y.device == torch.device("cuda", 0)
    assert x.is_cuda
    z = torch.where(x > 0, x @ y, -y) + 1
    assert isinstance(z, Pretend)
    assert z.tolist() == [-1.0, 7.0, 7.0]
    assert x.new_zeros(2, device="cpu").device.type == "cpu"


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.stack([x[0], torch.tensor(1.0)]),
        lambda x, y: x.gather(0, y.long()),
        lambda x, y: torch.where(y > 0, x, x),
        lambda x, y: x.mul_(y),
        lambda x, y: y[x.long()],
        lambda x, y: torch.nn.Linear(3, 1)(x),
        lambda x, y: torch.equal(x, y),
        lambda x, y: torch.rand(3, device="cuda", generator=torch.Generator()),
        lambda x, y: x.normal_(generator=torch.Generator()),
        lambda x, y: torch.rand(3, generator=torch.Generator("cuda")),
    ],
)
def test_devices_do_not_mix(mix, gpu):
    with pytest.raises(RuntimeError, match=r"same device|generator|indices should be"):
        mix(on_gpu(), torch.ones(3))


def test_single_numbers_and_copies_cross(gpu):
    x = on_gpu()
    assert (x * torch.tensor(2.0)).tolist() == [0.0, 2.0, 4.0]
    assert torch.zeros(3).copy_(x).device.type == "cpu"
    assert torch.zeros(3, device="cuda").copy_(torch.ones(3)).device.type == "cuda"
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
        x.numpy()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x[0].item(),
        lambda x: bool(x.any()),
        lambda x: float(x[1]),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu", torch.double),
        lambda x: torch.zeros(3).copy_(x),
        lambda x: x.nonzero(),
        lambda x: x[x > 1],
        lambda x: x.masked_select(x > 1),
        lambda x: x.__setitem__(x > 1, torch.zeros(1, device="cuda")),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: torch.tensor([1.0], device="cuda"),
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.ones(3).to(x),
        lambda x: torch.ones(3).cuda(),
    ],
)
def test_a_wait_is_counted_once_with_its_place(wait, gpu):
    x = on_gpu()
    assert not gpu.waits
    wait(x)
    assert list(gpu.waits.values()) == [1]
    assert "at tests/test_pretend.py:" in next(iter(gpu.waits))


def test_what_a_gpu_does_on_its_own_is_no_wait(gpu):
    x = on_gpu()
    index = torch.arange(2, device="cuda").flip(0)
    y = x.clone()
    y[index] = x[index] * 2
    y = torch.where(y > 1, y, 0.5).index_copy(0, index, y.take(index)).clamp(0, 3)
    torch.rand(3, device="cuda", generator=torch.Generator("cuda")).median(0)
    assert y.sort().values.chunk(3)[0].shape == (1,)
    assert not gpu.waits


def test_gradients_copies_and_modules_stay_on_it(gpu):
    net = torch.nn.Linear(3, 1).to("cuda")
    twin = copy.deepcopy(net).double()
    z = on_gpu().requires_grad_()
    net(z).sum().backward()
    assert z.grad.device.type == net.weight.grad.device.type == "cuda"
    torch.testing.assert_close(z.grad.cpu(), net.weight.detach().cpu()[0])
    assert twin.weight.dtype == torch.double
    assert twin.weight.device.type == "cuda"
    host = torch.ones(3, requires_grad=True)
    (host.to("cuda") * 2).sum().backward()
    assert host.grad.tolist() == [2.0, 2.0, 2.0]


def test_afterwards_there_is_none():
    before = torch.Generator, torch.cuda.is_available()
    with pretending():
        assert torch.cuda.is_available()
    assert (torch.Generator, torch.cuda.is_available()) == before
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
