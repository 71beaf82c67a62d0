"""The README's export is run as it stands there, of the VAE that it names, and diagnosed."""

import re
import runpy
from pathlib import Path

import numpy as np
import torch

from vaesurface import data, diagnose

ROOT = Path(__file__).parent.parent.parent
STEPS = 300  # the README's has ten times as many, and collapses as soon


def test_the_export_of_the_readme_is_diagnosed_as_it_says(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    export = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL))
    (said,) = re.findall(r"^    (\(ii\) .*)$", readme, re.MULTILINE)

    model, x = trained()
    monkeypatch.chdir(tmp_path)
    exec(export, {"torch": torch, "np": np, "model": model, "x": x})
    assert diagnose.load(tmp_path / "vae.npz").label == said


def trained():
    """The VAE, which here returns log variances, with the squared error averaged; and its data."""
    example = runpy.run_path(str(ROOT / "docs/monitor/pytorch.py"))
    torch.manual_seed(0)
    x = torch.as_tensor(data.load("digits"), dtype=torch.float32)
    model = example["VAE"](x.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    encode = model.encode
    for _ in range(STEPS):
        batch = x[torch.randint(len(x), (example["BATCH"],))]
        mean, log_std = encode(batch)
        y = model.decode(mean + log_std.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum(1).mean()
        loss = example["averaged"](model, batch, y, kl)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.encode = lambda rows: (encode(rows)[0], 2 * encode(rows)[1])
    return model, x
