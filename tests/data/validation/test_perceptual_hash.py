"""Fingerprints: what they survive, and that the nearest clips of other splits are those an honest search finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.data.validation import perceptual_hash as hashing
from cac.data.validation.perceptual_hash import BITS, FRAMES, HEIGHT, WIDTH, nearest_of_other_splits, perceptual_hash


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (FRAMES, HEIGHT, WIDTH), dtype=np.uint8)


def bits_of(hashed: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(hashed, np.uint8))


def test_brightness_and_faint_noise_do_not_matter_and_a_mirror_image_does() -> None:
    frames = grey(1) // 2
    hashed = perceptual_hash(list(frames))
    assert len(hashed) * 8 == BITS
    assert perceptual_hash(list(frames + 100)) == hashed
    assert (bits_of(hashed) != bits_of(perceptual_hash(list(frames[:, :, ::-1])))).mean() > 0.4
    noise = np.random.default_rng(2).integers(0, 6, frames.shape, dtype=np.uint8)
    flat = np.full_like(frames, 128)
    assert perceptual_hash(list(flat + noise)) == perceptual_hash(list(flat))


def test_a_clip_of_few_frames_repeats_its_last() -> None:
    frames = list(grey(3))
    assert perceptual_hash(frames[:1]) == perceptual_hash(frames[:1] * FRAMES)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(0, 6)), max_size=30))
def test_nearest_are_those_of_a_plain_search(chosen: list[tuple[str, int]]) -> None:
    rng = np.random.default_rng(0)
    bases = [rng.integers(0, 256, BITS // 8, dtype=np.uint8) for _ in range(3)]
    hashes = []
    for _, kind in chosen:
        hashed = bases[kind % 3].copy()
        hashed[:kind] ^= 0xFF  # 8 bits a step
        hashes.append(hashed.tobytes())
    clips = [(number, split, hashed) for number, ((split, _), hashed) in enumerate(zip(chosen, hashes, strict=True))]
    expected = {}
    for number, split, hashed in clips:
        others = [float((bits_of(hashed) != bits_of(other)).mean()) for _, name, other in clips if name != split]
        if others and min(others) <= 0.02:
            expected[number] = min(others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_BLOCK", 4)
        found = {a: (b, distance) for a, b, distance in nearest_of_other_splits(clips, 0.02)}
    assert {a: distance for a, (_, distance) in found.items()} == pytest.approx(expected)
    assert all(chosen[a][0] != chosen[b][0] for a, (b, _) in found.items())
