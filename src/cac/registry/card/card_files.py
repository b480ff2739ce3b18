"""The model card as files: `MODEL_CARD.md` with its pictures in `images/`, and the same as one page, `MODEL_CARD.html`.

The evaluation report's functions draw the pictures and choose the clips. The page is rendered from the Markdown and
embeds its pictures, so it can be passed on as one file. The same content gives the same bytes.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.evaluation import curves
from cac.evaluation.intervals import per_family
from cac.evaluation.report import Example, ReportInputs, Table, choose_examples
from cac.io.aside import new_folder
from cac.model.calibration import reliability
from cac.registry.card.card_data import CardData
from cac.registry.card.model_card import Pictures, model_card
from cac.video.clip_store import ClipStore
from cac.video.drawing import save_image
from cac.video.sheets import contact_sheet

if TYPE_CHECKING:
    from markdown_it.token import Token

MARKDOWN, PAGE = "MODEL_CARD.md", "MODEL_CARD.html"
_SHOWN = 8
_LIGHT, _DARK = "-light.png", "-dark.png"


def write_card(facts: CardData, dataset: Path, out: Path) -> None:
    """Write the card to a new folder, completely or not at all.

    Raises:
        CacError: `out` exists or cannot be written, or a clip to show is missing or corrupt.
    """
    check_new_card(out)
    measured, params = facts.measured, facts.params
    samples, seed = params.evaluation.bootstrap_samples, params.compute.seed
    families = per_family(measured.clips, measured.judgements, measured.scores, samples, seed)
    try:
        with new_folder(out) as card:
            (card / "images").mkdir()
            pictures = Pictures(_draw_charts(facts, families, card), _draw_examples(facts, families, dataset, card))
            text = model_card(facts, families, pictures)
            (card / MARKDOWN).write_text(text, encoding="utf-8")
            (card / PAGE).write_text(page(text, facts.params.registry.model_name, card), encoding="utf-8")
    except OSError as error:
        raise CacError(f"cannot write the model card to {out}: {error}. Name a folder you may write to.") from error


def check_new_card(out: Path) -> None:
    """Check that a card may be written to `out`: a folder that does not exist, or is empty.

    Raises:
        CacError: there is something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CacError(f"{out} already exists; a model card is never overwritten. Name a new folder.")


def _draw_charts(facts: CardData, families: Table, out: Path) -> dict[str, str]:
    """Draw the charts, each in a light and a dark theme, and return {name: file of the light one}."""
    measured = facts.measured
    is_clean = [clip.is_clean for clip in measured.clips]
    bins = reliability(measured.scores, is_clean, facts.params.evaluation.calibration_bins)
    charts: dict[str, Any] = {
        "families": partial(curves.family_chart, families),
        "reliability": partial(curves.reliability_chart, bins),
        "scores": partial(curves.score_chart, measured.scores, is_clean),
    }
    for name, chart in charts.items():
        curves.save_themed(chart, out / "images", name)
    return {name: f"images/{name}{_LIGHT}" for name in charts}


def _draw_examples(facts: CardData, families: Table, dataset: Path, out: Path) -> list[tuple[Example, str]]:
    """Draw the clips that the report's rule chooses, and return each with its file."""
    measured, store = facts.measured, ClipStore(dataset)
    inputs = ReportInputs(
        metrics=facts.splits,
        final=facts.row,
        clips=measured.clips,
        judgements=measured.judgements,
        scores=measured.scores,
        per_family=families,
        load_video=store.video,
        histories={},
        shown=_SHOWN,
    )
    drawn = [(example, f"images/example-{n}.png") for n, example in enumerate(choose_examples(inputs), start=1)]
    for example, file in drawn:
        save_image(contact_sheet(store.video(example.clip), example.clip, example.judgement), out / file)
    return drawn


def page(markdown: str, title: str, folder: Path) -> str:
    """Return the card as one HTML page with embedded pictures; `folder` is the folder that their names are relative to.

    HTML within the Markdown is escaped.
    """
    from jinja2 import Environment, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    def image(renderer: Any, tokens: Sequence["Token"], index: int, options: Any, env: Any) -> str:
        return _image(tokens[index], folder)

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", image)
    source = files("cac.registry.card").joinpath("model_card.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    return template.render(title=title, card=Markup(parser.render(markdown)))  # escaped by the parser


def _image(token: "Token", folder: Path) -> str:
    """Write a picture with its bytes; one that has a dark twin is shown as the reader's screen is."""
    from markupsafe import Markup

    file = str(token.attrs["src"])
    alt = token.content.replace("\\", "")
    image = Markup('<img src="{}" alt="{}">').format(_bytes_of(folder / file), alt)
    if not file.endswith(_LIGHT):
        return image
    dark = _bytes_of(folder / (file.removesuffix(_LIGHT) + _DARK))
    source = Markup('<source srcset="{}" media="(prefers-color-scheme: dark)">').format(dark)
    return Markup('<picture class="chart">{}{}</picture>').format(source, image)


def _bytes_of(path: Path) -> str:
    return f"data:image/png;base64,{b64encode(path.read_bytes()).decode()}"
