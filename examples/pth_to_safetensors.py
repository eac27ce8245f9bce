#!/usr/bin/env python3
"""pth_to_safetensors.py IN.pth OUT.safetensors - the weights of a PyTorch checkpoint without its pickle, for `ebm-trainer import`.
Needs torch, and no other package. A checkpoint that holds more than weights: state = torch.load(...)["state_dict"] or such."""
import json
import struct
import sys

import torch


def save(path, tensors):
    """A safetensors file of tensors by name, as float32."""
    header, blobs, at = {}, [], 0
    for name, tensor in sorted(tensors.items()):
        blobs.append(tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + len(blobs[-1])]}
        at += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


if __name__ == "__main__":
    state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)  # since torch 1.13: runs nothing of the pickle
    save(sys.argv[2], {name: tensor for name, tensor in state.items() if tensor.is_floating_point()})
