#!/usr/bin/env python3
"""Makes the seeds of every fuzz target anew, most of them from what a real nginx sent."""

import pathlib

HERE = pathlib.Path(__file__).resolve().parent
CAPTURES = HERE.parent / "proto" / "tests" / "captures"
PIECES = b"\x00\x02\x0f\xff"

HEADS = {
    "page": (b"200 OK", b"Content-Type", b"text/html; charset=utf-8", b"Content-Length", b"1234"),
    "redirect": (b"302 Found", b"Location", b"/next", b"Set-Cookie", b"a=1; Path=/", b"Set-Cookie", b"b=2"),
    "not_modified": (b"304 Not Modified", b"ETag", b'"7"', b"Content-Length", b"10"),
    "no_reason": (b"404", b"X-Empty", b""),
    "two_lengths": (b"200 OK", b"Content-Length", b"5", b"content-length", b"05", b"Content-Length", b"6"),
    "hop_by_hop": (b"200 OK", b"Transfer-Encoding", b"chunked", b"TE", b"trailers", b"Status", b"404"),
    "split": (b"200 OK\r\nX: y", b"X-Note", b"one\r\nSet-Cookie: two", b"X\nY", b"z", b"X-Nul", b"\0"),
    "not_final": (b"103 Early Hints", b"Link", b"</style.css>; rel=preload"),
}


def main():
    packets = {file.stem: file.read_bytes() for file in sorted(CAPTURES.rglob("*.bin"))}
    packets["ping"] = bytes([100, 0, 0, 0])
    short = {name: packet for name, packet in packets.items() if len(packet) < 4096}
    write("decode", packets)
    write("roundtrip", short)
    write("split", {name: PIECES + packet for name, packet in short.items()} | {"many": PIECES + b"".join(short.values())})
    write("response_head", {name: b"".join(map(prefixed, head)) for name, head in HEADS.items()})


def prefixed(string):
    return bytes([len(string)]) + string


def write(target, seeds):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        (folder / f"{name}.bin").write_bytes(seed)
    print(f"{target}: {len(seeds)} seeds")


if __name__ == "__main__":
    main()
