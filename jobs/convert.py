"""Exchange weights with other projects: facenet-pytorch (the original authors' weights) and ONNX."""

import argparse

import _common

from mtcnn.convert import from_facenet_pytorch, to_facenet_pytorch, to_onnx
from mtcnn.nets import STAGES, load, save
from mtcnn.store import open_store


def main() -> None:
    """Read the three nets of a folder or URL in one form and write them in another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", choices=("facenet-pytorch", "native"), default="native")
    parser.add_argument("--to", choices=("native", "facenet-pytorch", "onnx"), default="native")
    parser.add_argument("src", metavar="SRC", help="folder or URL of pnet.pt, rnet.pt, onet.pt")
    parser.add_argument("dst", metavar="DST", help="folder or URL for the result")
    options = parser.parse_intermixed_args()
    read = from_facenet_pytorch if options.source == "facenet-pytorch" else load
    write = {"native": save, "facenet-pytorch": to_facenet_pytorch, "onnx": to_onnx}[options.to]
    src, dst = open_store(options.src), open_store(options.dst)
    files = {stage: read(src.get(f"{stage}.pt"), stage, f"{src.url}/{stage}.pt") for stage in STAGES}
    results = {stage: write(weights) for stage, weights in files.items()}
    ending = "onnx" if options.to == "onnx" else "pt"
    for stage, data in results.items():
        dst.put(f"{stage}.{ending}", data)
        print(f"{dst.url}/{stage}.{ending}  {len(data):,} bytes")


if __name__ == "__main__":
    _common.run(main)
