#!/bin/bash
# A network that learns to name tissues of painted label maps first and then the age of your people:
#   ./from_segmentation.sh LABEL_MAPS OUT participants.tsv FOLDER [options of brainage-train]
# LABEL_MAPS is a folder of whole-head label maps with FreeSurfer's codes (or an output folder of the app, whose structures are learned),
# OUT the output folder of `brainage … participant`. The models are FOLDER/tissues and FOLDER/ours. A run that was ended goes on.
set -euo pipefail
maps=$1 out=$2 people=$3 folder=$4
shift 4
network=(--model slices --input brain2affine --widths 8 16 32 64 128 "$@")

[ -d "$folder/tissues" ] || brainage-train "$maps" --task segment --labels tissues --rate 0.004 --epochs 14 --batch 4 \
    --out "$folder/tissues" "${network[@]}"
[ -d "$folder/ours" ] || brainage-train "$out" --phenotype "$people" --init "$folder/tissues" --freeze convolutions \
    --folds 5 --repeats 3 --out "$folder/ours" "${network[@]}"
