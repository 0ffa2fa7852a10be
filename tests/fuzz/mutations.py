"""Damage: bits flipped, parts cut out, spliced in or written over; the same for the same seed and number."""

import random


def mutated(seeds: dict[str, bytes], name: str, number: int) -> bytes:
    """The seed of a name with the damage of a number.

    Args:
        seeds: By name; pieces that are spliced in come from any of them.
        name: Of the seed.
        number: Chooses the damage.
    """
    rng = random.Random(f"{name} {number}")
    data = bytearray(seeds[name])
    for _ in range(rng.choice([1, 1, 1, 2])):
        if data:
            rng.choice(_KINDS)(data, rng, list(seeds.values()))
    return bytes(data)


def _flip(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    for _ in range(rng.choice([1, 1, 3, 30])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_in_header(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    for _ in range(rng.choice([1, 1, 2])):
        data[rng.randrange(min(len(data), 128))] ^= 1 << rng.randrange(8)


def _number_in_header(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    start = rng.randrange(min(len(data), 128))
    value = rng.choice([0, 1, 2, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, rng.getrandbits(64)])
    size = rng.choice([1, 2, 4, 8])
    number = (value & (1 << 8 * size) - 1).to_bytes(size, rng.choice(["little", "big"]))
    data[start : start + size] = number[: len(data) - start]


def _cut_end(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _cut_out(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice([1, 2, 4, rng.randrange(1, 2000)])]


def _splice(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    other = rng.choice(others)
    start, position = rng.randrange(len(other)), rng.randrange(len(data))
    data[position:position] = other[start : start + rng.randrange(1, 2000)]


def _repeat(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 2000)]
    data[start:start] = piece * rng.choice([1, 1, 5])


def _overwrite(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    start, length = rng.randrange(len(data)), rng.choice([2, 16, 512, 4096])
    other = rng.choice(others)
    piece = rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length), other[: rng.randrange(1, length + 1)]])
    piece = piece[: len(data) - start]
    data[start : start + len(piece)] = piece


_KINDS = (_flip, _flip, _flip_in_header, _number_in_header, _cut_end, _cut_out, _splice, _repeat, _overwrite)
