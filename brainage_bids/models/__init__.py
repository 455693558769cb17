"""Model folders: card, registry, weights, input contract and inference of an age."""
