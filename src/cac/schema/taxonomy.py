"""The taxonomy: anomaly families and their leaves.

The four families are those of the CaC paper. Its leaves are not public, so the leaves here are our own. How a defect is
made is in `data/sample/defects.py` and `data/injection/`; how an answer names it is in `dialogue.py`.
"""

from dataclasses import dataclass
from enum import StrEnum

TAXONOMY_VERSION = "1"  # changes with the meaning of a leaf; a new leaf takes nothing from what was annotated before


class Family(StrEnum):
    """The anomaly families of the paper."""

    STRUCTURAL = "structural_distortion"
    TEMPORAL = "temporal_inconsistency"
    PHYSICAL = "physical_violation"
    TEXT = "corrupted_text"


@dataclass(frozen=True)
class Leaf:
    """One kind of anomaly.

    `visible_in_frame` is true where a single frame is enough to see it; single-frame training uses only those.
    """

    name: str
    family: Family
    definition: str
    visible_in_frame: bool


_LEAVES = (
    Leaf("extra_limb", Family.STRUCTURAL, "A creature has limbs it should not have.", True),
    Leaf("missing_limb", Family.STRUCTURAL, "A creature has lost limbs it should have.", True),
    Leaf("melted_body", Family.STRUCTURAL, "An object's outline warps and runs like wax.", True),
    Leaf("colour_swap", Family.TEMPORAL, "An object changes colour, then changes back.", False),
    Leaf("vanishing", Family.TEMPORAL, "An object is gone for a while, then there again.", False),
    Leaf("shape_morph", Family.TEMPORAL, "An object turns into another kind of object and back.", False),
    Leaf("teleport", Family.PHYSICAL, "An object jumps off its path and back onto it.", False),
    Leaf("size_jump", Family.PHYSICAL, "An object grows or shrinks at once, then recovers.", False),
    Leaf("wall_penetration", Family.PHYSICAL, "A solid object passes into a solid wall.", True),
    Leaf("garbled_text", Family.TEXT, "Letters of a word turn into meaningless glyphs.", True),
    Leaf("mirrored_text", Family.TEXT, "A word is written back to front.", True),
    # From here on leaves that the procedural scenes cannot show.
    Leaf("stretched_part", Family.STRUCTURAL, "A part of an object grows out of its shape.", True),
    Leaf("misplaced_part", Family.STRUCTURAL, "A place shows what belongs elsewhere in the picture.", True),
    Leaf("ghost_double", Family.STRUCTURAL, "A second, see-through copy of an object goes along with it.", True),
    Leaf("texture_jitter", Family.TEMPORAL, "A surface trembles from frame to frame within a steady outline.", False),
    Leaf("sudden_appearance", Family.TEMPORAL, "An object is there all at once, then gone again.", False),
    Leaf("frozen_region", Family.TEMPORAL, "An object stands still for a while and then is where it should be.", False),
    Leaf("reversed_motion", Family.PHYSICAL, "An object's motion runs backwards while the rest goes on.", False),
    Leaf("speed_jump", Family.PHYSICAL, "An object's motion suddenly runs too fast, then as before.", False),
    Leaf("object_split", Family.PHYSICAL, "An object comes apart into two that drift away from each other.", True),
    Leaf("shifting_text", Family.TEXT, "The letters of a word change from one frame to the next.", False),
)

LEAVES: dict[str, Leaf] = {leaf.name: leaf for leaf in _LEAVES}


def family_of(leaf: str) -> Family:
    """Return the family of a leaf name.

    Raises:
        KeyError: the name is not in the taxonomy.
    """
    return LEAVES[leaf].family
