"""The peer of /density and /sample: PyTorch behind FastAPI, with the networks of torch_models.py (the peers' folder on
PYTHONPATH). POST /density {"inputs", "grid"} and /sample {"inputs", "num_samples"} answer the numbers that ebm-server
answers, log Z and the choice of samples by importance with 1024 draws a row, as torch_models.predict has its moments.
One pass for all rows, JSON by ujson without FastAPI's own encoder: as fast as it is easily made."""
import math
import os

import torch
import ujson
from fastapi import FastAPI, Request, Response
from torch_models import Net, log_q, sample_q, score

DRAWS = 1024
torch.set_num_threads(1)
torch.manual_seed(0)
net = Net(os.environ.get("MODEL", "T")).eval()
app = FastAPI()


def weighted_draws(x):
    """-> features, mixture, draws (B, M), log weights (B, M)"""
    h = net.feature_net(x)
    mixture = net.noise_net(h)
    y, log_density = sample_q(*mixture, DRAWS, fast=True)
    return h, mixture, y.squeeze(2), score(net.predictor_net, h, y, True) - log_density


def answer(predictions):
    return Response(ujson.dumps({"predictions": predictions}), media_type="application/json")


@app.post("/density")
async def density(request: Request):
    body = ujson.loads(await request.body())
    grid = body["grid"]
    with torch.no_grad():
        x = torch.tensor(body["inputs"], dtype=torch.float32)
        h, (means, log_variances, weights), _, log_weights = weighted_draws(x)
        log_z = torch.logsumexp(log_weights, 1) - math.log(DRAWS)
        relative = torch.exp(log_weights - log_weights.max(1, keepdim=True).values)
        errors = relative.std(1) / relative.mean(1) / math.sqrt(DRAWS)
        y = torch.linspace(grid["lower"], grid["upper"], grid["points"]).expand(len(x), -1)
        f = score(net.predictor_net, h, y, True)
        q = log_q(y.unsqueeze(2), means, torch.exp(log_variances / 2), weights)
        columns = (y.unsqueeze(2), f, f - log_z.unsqueeze(1), q, log_z, errors)
    names = ("targets", "unnormalized_log_prob", "log_prob", "proposal_log_prob", "log_normalizer",
             "log_normalizer_std_error")
    return answer([dict(zip(names, row)) for row in zip(*(column.tolist() for column in columns))])


@app.post("/sample")
async def sample(request: Request):
    body = ujson.loads(await request.body())
    with torch.no_grad():
        _, _, y, log_weights = weighted_draws(torch.tensor(body["inputs"], dtype=torch.float32))
        chosen = torch.multinomial(torch.softmax(log_weights, 1), body["num_samples"], replacement=True)
        samples = torch.gather(y, 1, chosen).unsqueeze(2).tolist()
    return answer([{"samples": row} for row in samples])
