"""arrays.py - .npy and safetensors files as bytes. Python's standard library alone."""
import json
import struct

NPY = b"\x93NUMPY\x01\x00"  # format 1.0


def npy(kind, shape, data):
    """kind as numpy writes it: '<f4', '<f8', '|u1', ..."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    text += " " * (-(len(NPY) + 2 + len(text) + 1) % 64) + "\n"
    return NPY + struct.pack("<H", len(text)) + text.encode() + data


def take_apart(file):
    """A safetensors file -> (header as an object, bytes of the tensors)."""
    end = 8 + struct.unpack("<Q", file[:8])[0]
    return json.loads(file[8:end]), file[end:]


def put_together(header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def tensors_of(file):
    """-> (name -> (type, shape, bytes), metadata)"""
    header, data = take_apart(file)
    metadata = header.pop("__metadata__", {})
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}, metadata


def safetensors(tensors, metadata=None):
    """tensors_of backwards."""
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    return put_together(header, b"".join(data for _, _, data in tensors.values()))
