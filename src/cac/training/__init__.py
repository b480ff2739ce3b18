"""The three training stages and their rewards."""
