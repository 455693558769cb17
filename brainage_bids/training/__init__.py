"""From preprocessed participants to a model folder: splits, fits, nested cross-validation."""
