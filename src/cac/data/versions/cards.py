"""The dataset's card, `dataset.json`: read it, write it, and merge several.

A merged dataset's card keeps the cards it was made of, so that settings, seeds and licences are not lost. Out of scope:
the content of the cards, which the makers of datasets know.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from cac.errors import CacError
from cac.schema.annotations import CARD_NAME, SCHEMA_VERSION
from cac.schema.taxonomy import TAXONOMY_VERSION

MERGED = "cac data merge"
_VERSIONS = {"schema_version": SCHEMA_VERSION, "taxonomy_version": TAXONOMY_VERSION}

Card = dict[str, object]


def read_card(dataset: Path) -> Card:
    """Return the card of a dataset folder.

    Raises:
        CacError: it is missing, not a JSON object, or of another schema or taxonomy version.
    """
    path = dataset / CARD_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CacError(f"{path} cannot be read: {error.strerror}. A dataset folder needs this card.") from error
    except (ValueError, RecursionError) as error:
        raise CacError(f"{path} is not valid JSON ({error}). Repair it or download it again.") from error
    if not isinstance(card, dict):
        raise CacError(f"{path} is not a JSON object. Repair it or download it again.")
    for name, known in _VERSIONS.items():
        if card.get(name) != known:
            raise CacError(f"{path}: {name} is {card.get(name)!r}, but this cac reads {known!r}. Make it again.")
    return card


def write_card(dataset: Path, card: Card) -> None:
    """Write the card; the same card gives the same bytes."""
    (dataset / CARD_NAME).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def merge_cards(cards: Sequence[Card]) -> Card:
    """Return the card of a merged dataset; a card that was itself merged is replaced by those it was made of."""
    origins: list[Card] = []
    for card in cards:
        for origin in _origins(card):
            if origin not in origins:
                origins.append(origin)
    return {
        **_VERSIONS,
        "source": _all_of(origins, "source"),
        "licence": _all_of(origins, "licence"),
        "made_by": MERGED,
        "merged": origins,
    }


def _origins(card: Card) -> list[Card]:
    merged = card.get("merged")
    return merged if card.get("made_by") == MERGED and isinstance(merged, list) else [card]


def _all_of(cards: Sequence[Card], key: str) -> str:
    return "; ".join(sorted({str(card.get(key, "unknown")) for card in cards}))
