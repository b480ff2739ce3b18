"""What a defect does to pixels: one module a kind of effect, on the layers and fills they share."""
