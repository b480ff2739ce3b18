"""Drawing: an actor is drawn where its extent says, and everything that can be said of it shows."""

from dataclasses import replace

import numpy as np
import pytest

from cac.data.sample.glyphs import WORDS, letter, word_bitmap
from cac.data.sample.render import KINDS, ActorState, Wall, extent, render_frame
from cac.schema.geometry import box_iou

SIZE = 96
BACKGROUND = np.full((SIZE, SIZE, 3), 128, np.uint8)


def actor(kind: str, /, **changes: object) -> ActorState:
    return replace(ActorState(kind, "red", 48.0, 50.0, 13.0, word="KEY"), **changes)  # type: ignore[arg-type]


def draw(*actors: ActorState, wall: Wall | None = None) -> np.ndarray:
    return render_frame(BACKGROUND, wall, list(actors))


def drawn_box(image: np.ndarray) -> tuple[float, float, float, float]:
    """The box of the pixels that are not background, in [0, 1]."""
    ys, xs = np.nonzero((image != BACKGROUND).any(-1))
    return xs.min() / SIZE, ys.min() / SIZE, (xs.max() + 1) / SIZE, (ys.max() + 1) / SIZE


@pytest.mark.parametrize(
    "state",
    [actor(kind) for kind in KINDS]
    + [actor("ball", warp=1.0, phase=2.0), actor("star", warp=0.6), actor("creature", limbs=7)],
    ids=lambda state: f"{state.kind}-{state.warp}-{state.limbs}",
)
def test_an_actor_fills_its_extent(state: ActorState) -> None:
    drawn, told = drawn_box(draw(state)), extent(state, SIZE, SIZE)
    # Two pixels for outlines and antialiasing; a creature's box leaves room for its head on both sides.
    slack = 2.1 / SIZE

    assert min(drawn[0] - told[0], drawn[1] - told[1], told[2] - drawn[2], told[3] - drawn[3]) >= -slack
    assert box_iou(drawn, told) >= (0.7 if state.kind == "creature" else 0.85)


@pytest.mark.parametrize("kind", KINDS)
def test_an_extent_is_cut_to_the_frame(kind: str) -> None:
    for x, y in ((0.0, 0.0), (96.0, 96.0), (-300.0, 300.0)):
        x1, y1, x2, y2 = extent(actor(kind, x=x, y=y), SIZE, SIZE)
        assert 0 <= x1 <= x2 <= 1
        assert 0 <= y1 <= y2 <= 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [(kind, {"x": 40.0}) for kind in KINDS]
    + [(kind, {"colour": "blue"}) for kind in KINDS]
    + [("ball", {"kind": other}) for other in KINDS if other != "ball"]
    + [("box", {"size": 18.0}), ("box", {"warp": 0.5}), ("creature", {"heading": -1}), ("creature", {"phase": 1.0})]
    + [("creature", {"limbs": limbs}) for limbs in (0, 1, 2, 3, 5, 6, 7)]
    + [("sign", {"word": "FLY"}), ("sign", {"mirrored": True}), ("sign", {"garble": 0})],
)
def test_every_property_shows(kind: str, change: dict[str, object]) -> None:
    assert (draw(actor(kind)) != draw(actor(kind, **change))).any(-1).sum() >= 10


def test_what_is_not_visible_is_not_drawn() -> None:
    assert (draw(actor("ball", visible=False)) == BACKGROUND).all()
    assert (draw() == BACKGROUND).all()


def test_later_actors_cover_earlier_ones_and_all_cover_the_wall() -> None:
    red, blue = actor("ball"), actor("ball", colour="blue")
    wall = Wall(30, 66)

    assert (draw(red, blue) == draw(blue)).mean() > 0.99
    assert not (draw(red, blue) == draw(blue, red)).all()
    assert (draw(red, wall=wall)[50, 48] == draw(red)[50, 48]).all()
    assert not (draw(wall=wall)[50, 31:65] == BACKGROUND[50, 31:65]).any()
    assert (draw(wall=wall)[:, :29] == BACKGROUND[:, :29]).all()


def test_garbled_text_depends_on_its_seed_alone() -> None:
    assert (draw(actor("sign", garble=5)) == draw(actor("sign", garble=5))).all()
    assert not (draw(actor("sign", garble=5)) == draw(actor("sign", garble=6))).all()


def test_a_letter_stands_upright() -> None:
    rows = ["".join(".#"[dot] for dot in row) for row in letter("F").astype(int)]

    assert rows == ["#####", "#....", "#....", "####.", "#....", "#....", "#...."]


def test_no_word_is_its_own_mirror_image_nor_anothers() -> None:
    bitmaps = {word: word_bitmap(word) for word in WORDS}

    assert all(bitmap.shape == (7, 17) for bitmap in bitmaps.values())
    for bitmap in bitmaps.values():
        assert not any(np.array_equal(bitmap[:, ::-1], other) for other in bitmaps.values())
