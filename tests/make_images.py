#!/usr/bin/env python3
"""Small images of every kind, written without our code, and what Pillow makes of them: tests/images, tests/unit/image_values.h
and the first inputs of the fuzz target; arrays of images as NumPy and h5py write them. Needs Pillow, NumPy and h5py
(python3-pil, python3-numpy, python3-h5py). The files are committed; to change them, run
`tests/make_images.py` and say in the commit why."""
import io
import os
import struct
import zipfile
import zlib

import h5py
import numpy
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH, HEIGHT = 7, 5
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def value(x, y, c):
    """Of 8 bits; the test knows the same formula."""
    return (x * 37 + y * 59 + c * 83 + x * y * 11) & 255


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def pack(numbers, depth):
    """Numbers of `depth` bits into bytes."""
    bits = "".join(format(n, f"0{depth}b") for n in numbers)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def rows(pixel, depth, xs, ys):
    """Scanlines without a filter."""
    return b"".join(b"\0" + pack([n for x in xs for n in pixel(x, y)], depth) for y in ys)


def png(kind, depth, pixel, interlaced=False, before=b"", size=None):
    width, height = size or (WIDTH, HEIGHT)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 1 if interlaced else 0)
    if interlaced:
        data = b"".join(rows(pixel, depth, range(x, width, dx), range(y, height, dy))
                        for x, y, dx, dy in ADAM7 if x < width and y < height)
    else:
        data = rows(pixel, depth, range(width), range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def rgb(x, y):
    return [value(x, y, c) for c in range(3)]


def palette():
    return chunk(b"PLTE", bytes(value(i % WIDTH, i // WIDTH, c) for i in range(35) for c in range(3)))


def pngs():
    grey = lambda x, y: [value(x, y, 0)]
    wide = lambda f: lambda x, y: [v * 256 + 99 for v in f(x, y)]
    alpha = lambda f: lambda x, y: f(x, y) + [value(x, y, 3)]
    return {
        "grey.png": png(0, 8, grey),
        "grey_1.png": png(0, 1, lambda x, y: [value(x, y, 0) >> 7]),
        "grey_16.png": png(0, 16, wide(grey)),
        "grey_alpha.png": png(4, 8, alpha(grey)),
        "rgb.png": png(2, 8, rgb),
        "rgb_16.png": png(2, 16, wide(rgb)),
        "rgb_interlaced.png": png(2, 8, rgb, interlaced=True),
        "rgb_alpha.png": png(6, 8, alpha(rgb)),
        "rgb_alpha_16.png": png(6, 16, wide(alpha(rgb))),
        "palette.png": png(3, 8, lambda x, y: [y * WIDTH + x], before=palette()),
        "palette_alpha.png": png(3, 8, lambda x, y: [y * WIDTH + x], before=palette() + chunk(b"tRNS", bytes(range(35)))),
    }


def huge():
    """The header of 12000 x 12000 pixels, and 64 zero bytes for data."""
    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")


def jpegs():
    """Smooth colours, so that the loss is small."""
    image = Image.new("RGB", (16, 16))
    image.putdata([(10 * x + 40, 10 * y + 20, 200 - 5 * x - 5 * y) for y in range(16) for x in range(16)])
    out = {}
    for name, mode, options in (("rgb.jpg", "RGB", {"subsampling": 0}), ("rgb_420.jpg", "RGB", {"subsampling": 2}),
                                ("grey.jpg", "L", {}), ("progressive.jpg", "RGB", {"progressive": True}),
                                ("cmyk.jpg", "CMYK", {})):
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, "JPEG", quality=95, **options)
        out[name] = buffer.getvalue()
    return out


def table(name, numbers):
    lines, line = [], "   "
    for number in numbers:
        if len(line) + len(f" {number},") > 110:
            lines.append(line)
            line = "   "
        line += f" {number},"
    lines.append(line)
    return f"static const uint8_t {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def planes(image):
    return [v for band in image.split() for v in band.tobytes()]


def values(files):
    source = Image.open(io.BytesIO(files["rgb.png"]))
    text = ("/* image_values.h - what Pillow makes of tests/images; written by tests/make_images.py. */\n"
            "#ifndef EBM_TESTS_IMAGE_VALUES_H\n#define EBM_TESTS_IMAGE_VALUES_H\n\n#include <stdint.h>\n\n/* clang-format off */\n"
            "/* rgb.png (7 x 5) in other sizes, width x height, planes */\n")
    for name, how in (("bilinear", Image.Resampling.BILINEAR), ("area", Image.Resampling.BOX)):
        for width, height in ((3, 2), (10, 4), (7, 11)):
            text += table(f"{name}_{width}_{height}", planes(source.resize((width, height), how)))
    text += "/* rgb.png as grey */\n" + table("grey_of_rgb", planes(source.convert("L")))
    for name in ("rgb.jpg", "rgb_420.jpg", "grey.jpg", "progressive.jpg"):
        text += table(name.replace(".", "_"), planes(Image.open(io.BytesIO(files[name]))))
    return text + "/* clang-format on */\n\n#endif\n"


def write_arrays():
    image = (numpy.arange(3 * 4 * 5 * 3) % 256).astype("u1").reshape(3, 4, 5, 3)
    pose = numpy.array([[row * 10 - c * 2.5 for c in range(3)] for row in range(3)])
    for name, write in (("stored.npz", numpy.savez), ("deflated.npz", numpy.savez_compressed)):
        path = os.path.join(HERE, "images", name)
        write(path, image=image, pose=pose, img_size=64)
        content = [(item.filename, zipfile.ZipFile(path).read(item), item.compress_type) for item in zipfile.ZipFile(path).infolist()]
        with zipfile.ZipFile(path, "w") as file:  # anew, without the time
            for entry, data, method in content:
                file.writestr(zipfile.ZipInfo(entry), data, method)
    with h5py.File(os.path.join(HERE, "images", "cells.h5"), "w") as file:
        file.create_dataset("IMGs_grey", data=numpy.arange(60).astype("u1").reshape(3, 1, 4, 5), compression="gzip", track_times=False)
        file.create_dataset("CellCounts", data=numpy.array([1, 12, 23]), track_times=False)
    with h5py.File(os.path.join(HERE, "images", "hollow.h5"), "w") as file:  # a megabyte that was never written
        file.create_dataset("images", (4096, 1, 16, 16), "u1", chunks=(4096, 1, 16, 16), track_times=False)
        file.create_dataset("labels", data=numpy.zeros(4096, "u1"), compression="gzip", track_times=False)
    with h5py.File(os.path.join(HERE, "images", "outside.h5"), "w") as file:  # bytes of another file
        file.create_dataset("images", (3, 1, 4, 5), "u1", external=[("cells.h5", 0, 60)], track_times=False)
        file.create_dataset("labels", data=numpy.array([1, 12, 23]), track_times=False)
    with h5py.File(os.path.join(HERE, "images", "linked.h5"), "w") as file:  # a data set of another file
        file["images"] = h5py.ExternalLink("cells.h5", "/IMGs_grey")
        file.create_dataset("labels", data=numpy.array([1, 12, 23]), track_times=False)


def main():
    write_arrays()
    files = {**pngs(), "huge.png": huge(), **jpegs()}
    for name, data in files.items():
        with open(os.path.join(HERE, "images", name), "wb") as file:
            file.write(data)
        with open(os.path.join(HERE, "fuzz", "corpus", "image", name), "wb") as file:
            file.write(b"\x15" + data)
    with open(os.path.join(HERE, "images", "labels.csv"), "w", encoding="ascii") as file:
        file.write("file,y\n" + "".join(f"{name},{i}\n" for i, name in enumerate(sorted(files))))
    with open(os.path.join(HERE, "unit", "image_values.h"), "w", encoding="ascii") as file:
        file.write(values(files))


main()
