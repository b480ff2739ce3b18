"""Pictures of the experiment: curves over the updates, and clips of the same prompts before and after training.

The same results give the same bytes. The numbers are in the table of `summary.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cac.evaluation.curves import LIGHT
from cac.rl.downstream.clips import GeneratedClip
from cac.rl.downstream.experiment import WITH_MOTION, WITHOUT_MOTION, Result
from cac.rl.downstream.grpo import RandomStreams, generate
from cac.rl.downstream.prompts import Prompt, random_prompt
from cac.video.drawing import BACKGROUND, BAD, MUTED, TEXT, save_image
from cac.video.sampling import spread_indices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cac.rl.downstream.generator import ClipGenerator

_PANELS = {"anomalous": "anomalous clips (truth)", "score": "mean score", "motion": "mean motion, diagonals per second"}
_LABELS = {WITH_MOTION: "with the motion term", WITHOUT_MOTION: "without"}
_SHEET = 5_000_011  # in a seed key
_FRAMES, _GAP, _LINE = 4, 4, 20


def draw_curves(results: Mapping[str, Sequence[Result]], out: Path) -> None:
    """Write a PNG of truth, score and motion over the updates: a thin line per seed, a thick line for their mean."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(11, 3.2), dpi=110, facecolor=LIGHT.background, layout="constrained")
        panels = figure.subplots(1, len(_PANELS))
        for axes, (name, title) in zip(panels, _PANELS.items(), strict=True):
            _panel(axes, results, name, title)
        panels[0].legend(frameon=False, fontsize=9)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="png", metadata={"Software": None})


def _panel(axes: "Axes", results: Mapping[str, Sequence[Result]], name: str, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for colour, (arm, label) in zip(LIGHT.series, _LABELS.items(), strict=False):
        runs = [[entry[name] for entry in result["history"]] for result in results.get(arm, [])]
        if not runs:
            continue
        steps = np.arange(1, len(runs[0]) + 1)
        for run in runs:
            axes.plot(steps, run, color=colour, linewidth=0.8, alpha=0.35)
        axes.plot(steps, np.mean(runs, axis=0), color=colour, linewidth=2, label=label)
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("update")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=LIGHT.grid, linewidth=0.8)
    for side in axes.spines.values():
        side.set_visible(False)


def draw_clips(generators: Mapping[str, "ClipGenerator"], prompts: int, out: Path) -> None:
    """Write a PNG with a row per prompt and a column per generator; anomalous clips have a red frame."""
    asked = [random_prompt(np.random.default_rng([_SHEET, i])) for i in range(prompts)]
    columns = [[_caption(title, _width()), *_clips(generator, asked)] for title, generator in generators.items()]
    height = sum(image.height + _GAP for image in columns[0])
    sheet = Image.new("RGB", ((_width() + 4 * _GAP) * len(columns), height), BACKGROUND)
    for number, column in enumerate(columns):
        top = 0
        for image in column:
            sheet.paste(image, (number * (_width() + 4 * _GAP), top))
            top += image.height + _GAP
    save_image(sheet, out)


def _clips(generator: "ClipGenerator", asked: Sequence[Prompt]) -> list[Image.Image]:
    made = [generate(generator, [prompt], RandomStreams.of(_SHEET, i))[0] for i, prompt in enumerate(asked)]
    return [_strip(clip) for clip in made]


def _width() -> int:
    return _FRAMES * (96 + _GAP) - _GAP


def _strip(clip: GeneratedClip) -> Image.Image:
    """Return a few frames of a clip side by side, below the prompt and the clip's anomalies."""
    video = clip.video()
    wrong = ", ".join(clip.anomalies)
    strip = Image.new("RGB", (_width(), 96 + 2 * _LINE), BACKGROUND)
    strip.paste(_caption(str(clip.prompt), _width()), (0, 0))
    state = "still" if clip.choices["tempo"] == "still" else wrong or "sound"
    strip.paste(_caption(state, _width(), BAD if wrong else MUTED), (0, _LINE))
    for position, index in enumerate(_shown(clip)):
        frame = Image.fromarray(video.frames[index])
        if wrong:
            ImageDraw.Draw(frame).rectangle((0, 0, frame.width - 1, frame.height - 1), outline=BAD, width=2)
        strip.paste(frame, (position * (96 + _GAP), 2 * _LINE))
    return strip


def _shown(clip: GeneratedClip) -> list[int]:
    return spread_indices(clip.scene.frame_count, _FRAMES)


def _caption(text: str, width: int, colour: tuple[int, int, int] = TEXT) -> Image.Image:
    image = Image.new("RGB", (width, _LINE), BACKGROUND)
    ImageDraw.Draw(image).text((2, 3), text, font=ImageFont.load_default(size=13), fill=colour)
    return image
